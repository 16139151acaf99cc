/**
 * Parameter changes as JSON: names as the chain writes them, numbers as text or as numbers.
 *
 * `{"module": "proof", "params": {"proof_request_probability": 1, "proof_submission_fee": "2upokt"}}`.
 * Every name must be one of the module's parameters and every value of its kind.
 * Tested by test/devnet/orders.ts.
 */
import { coin, parseCoin } from '../base/units.ts'
import { DevnetError } from './errors.ts'
import { GENESIS_PARAMS } from './genesis.ts'
import type { ModuleName } from './params.ts'
import type { AllParams } from './state.ts'

/** @throws DevnetError PARAMS */
export function readModule(value: unknown): ModuleName {
  const known = Object.keys(GENESIS_PARAMS) as ModuleName[]
  const found = known.find((name) => name === value)
  if (found === undefined) throw new DevnetError('PARAMS', `no module ${String(value)}`)
  return found
}

/** @throws DevnetError PARAMS */
export function readChange<M extends ModuleName>(module: M, json: unknown): Partial<AllParams[M]> {
  return like(GENESIS_PARAMS[module], json, module) as Partial<AllParams[M]>
}

/** The parts of `example` that `json` names, each read as the example's value is. */
function like(example: object, json: unknown, path: string): Record<string, unknown> {
  if (typeof json !== 'object' || json === null)
    throw new DevnetError('PARAMS', `${path} must be an object`)
  const read: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(json)) {
    const name = camelCase(key)
    if (!Object.hasOwn(example, name))
      throw new DevnetError('PARAMS', `no parameter ${path}.${key}`)
    const known = (example as Record<string, unknown>)[name]
    read[name] = valueLike(known, value, `${path}.${key}`)
  }
  return read
}

function valueLike(example: unknown, value: unknown, path: string): unknown {
  try {
    if (typeof example === 'bigint') return BigInt(value as string)
    if (typeof example === 'number' && Number.isFinite(Number(value))) return Number(value)
    if (typeof example === 'string' && typeof value === 'string') return value
    if (isCoin(example)) return readCoin(value)
  } catch (error) {
    throw new DevnetError('PARAMS', `${path}: ${(error as Error).message}`)
  }
  if (typeof example === 'object' && example !== null)
    return { ...example, ...like(example, value, path) }
  throw new DevnetError('PARAMS', `${path} cannot be ${String(value)}`)
}

function isCoin(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'denom' in value
}

function readCoin(value: unknown): { denom: string; amount: string } {
  if (typeof value === 'string') return coin(parseCoin(value))
  const { denom, amount } = value as { denom?: unknown; amount?: unknown }
  return coin(parseCoin(`${String(amount)}${String(denom)}`))
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
