/**
 * Whether the machine runs on its battery. A mouse has a battery too, which does not count; a machine
 * without one is on mains. Files as in Linux' Documentation/ABI/testing/sysfs-class-power. Tested by
 * test/gpu/battery.ts.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { powershell } from './presence-windows.ts'
import type { Run } from './run.ts'

export type PowerSource = 'mains' | 'battery'

/** Files of one entry of `/sys/class/power_supply`; absent where it has none. */
export interface Supply {
  readonly type?: string
  readonly scope?: string
  readonly online?: string
  readonly status?: string
}

const SUPPLIES_MAX = 32

export function parseSupplies(supplies: readonly Supply[]): PowerSource {
  const ofMachine = supplies.filter(({ scope }) => scope !== 'Device')
  const inputs = ofMachine.filter(({ type }) => type === 'Mains' || type === 'USB')
  // A weak adapter lets the battery drain although it is plugged in: the owner has plugged it in.
  if (inputs.some(({ online }) => online !== undefined && online !== '0')) return 'mains'
  const batteries = ofMachine.filter(({ type }) => type === 'Battery')
  if (batteries.some(({ status }) => status === 'Discharging')) return 'battery'
  const charges = batteries.some(({ status }) => status === 'Charging')
  return batteries.length > 0 && inputs.length > 0 && !charges ? 'battery' : 'mains'
}

/** `Now drawing from 'Battery Power'`, the first line of `pmset -g batt`. */
export function parsePmset(text: string): PowerSource | undefined {
  const source = /drawing from '([^']+)'/.exec(text)?.[1]
  if (source === undefined) return undefined
  return source === 'Battery Power' ? 'battery' : 'mains'
}

/** `BatteryStatus` of every Win32_Battery: 1, 4 and 5 are discharging, low and critical. */
export function parseWindowsBattery(text: string): PowerSource {
  const states = text.split(/\s+/).filter((word) => word !== '')
  return states.length > 0 && states.every((state) => /^[145]$/.test(state)) ? 'battery' : 'mains'
}

/** undefined where the system does not answer. */
export async function readBattery(
  deps: { run: Run; platform: string; root?: string },
  signal: AbortSignal,
): Promise<PowerSource | undefined> {
  const { run, platform, root = '/' } = deps
  if (platform === 'darwin') {
    const text = await run('pmset', ['-g', 'batt'], signal)
    return text === undefined ? undefined : parsePmset(text)
  }
  if (platform === 'win32') {
    const script = '(Get-CimInstance Win32_Battery).BatteryStatus'
    const text = await run('powershell.exe', powershell(script), signal)
    return text === undefined ? undefined : parseWindowsBattery(text)
  }
  return parseSupplies(await readSupplies(join(root, 'sys/class/power_supply')))
}

async function readSupplies(folder: string): Promise<Supply[]> {
  const names = await readdir(folder).catch((): string[] => [])
  return await Promise.all(
    names.slice(0, SUPPLIES_MAX).map(async (name) => {
      const out: { -readonly [K in keyof Supply]: string } = {}
      for (const file of ['type', 'scope', 'online', 'status'] as const) {
        const text = await readFile(join(folder, name, file), 'utf8').catch(() => undefined)
        if (text !== undefined) out[file] = text.trim()
      }
      return out
    }),
  )
}
