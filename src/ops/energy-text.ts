/** What the cards drew, as a sentence for people. Tested by test/ops/energy-text.ts. */
import type { EnergyReport } from './report.ts'

/** Such as `212 W now; 3.1 J a token, 820 J a relay, 1.42 kWh since 2026-11-01 (0.44 at 0.31 a kWh)`. */
export function energyText(energy: EnergyReport): string {
  const { measured, watts, joulesPerToken, joulesPerRelay, since } = energy
  if (!measured) return 'not known: no card that serves tells what it draws'
  const drawn = since === null ? [] : [`${kilowattHours(energy.kWh)} since ${since}${cost(energy)}`]
  const counted = [
    ...(joulesPerToken === null ? [] : [`${figure(joulesPerToken)} J a token`]),
    ...(joulesPerRelay === null ? [] : [`${figure(joulesPerRelay)} J a relay`]),
    ...drawn,
  ].join(', ')
  const now = watts === null ? '' : `${watts.toFixed(0)} W now`
  return [now, counted].filter((part) => part !== '').join('; ')
}

function cost({ cost, powerPrice }: EnergyReport): string {
  if (cost === null || powerPrice === null) return ''
  const paid = cost > 0 && cost < 0.01 ? 'less than 0.01' : cost.toFixed(2)
  return ` (${paid} at ${powerPrice} a kWh)`
}

/** Of less than a tenth the Wh: `0.00 kWh` would tell nothing. */
function kilowattHours(kWh: number): string {
  return kWh < 0.1 ? `${figure(kWh * 1_000)} Wh` : `${kWh.toFixed(2)} kWh`
}

/** Two digits or more: `0.042`, `3.1`, `820`. */
function figure(number: number): string {
  if (number >= 10) return number.toFixed(0)
  if (number >= 1 || number === 0) return number.toFixed(1)
  return String(Number(number.toPrecision(2)))
}
