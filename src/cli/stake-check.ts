/**
 * Does the engine answer as the card of its service says? Asked before the stake as relays will ask it,
 * through the same code, so that a wrong backend shows before money is locked.
 *
 * A card is anybody's text: its pattern runs in a box with a time limit, and nothing of the answer is
 * shown. The engine is started for this and stopped again; one of a daemon that runs here is not loaded
 * a second time. Tests: test/cli/card.ts.
 */
import { runInNewContext } from 'node:vm'
import { utf8 } from '../base/bytes.ts'
import { errorText } from '../base/errors.ts'
import { ownerOnlyFolder } from '../base/files.ts'
import { Lifetime } from '../base/lifetime.ts'
import { silentLog } from '../base/log.ts'
import { ms } from '../base/units.ts'
import { type HealthCheck, shown } from '../chain/card.ts'
import type { ServiceInfo } from '../chain/services.ts'
import type { Config } from '../config/schema.ts'
import type { ServiceConfig } from '../config/services.ts'
import type { Inference, InferenceAnswer } from '../inference/inference.ts'
import { buildInference, type MachineView } from '../node/inference.ts'
import { OpsError } from '../ops/admin.ts'
import type { HttpRequest } from '../protocol/http.ts'
import type { Context } from './context.ts'
import { reportOf } from './daemon.ts'

export interface CheckResult {
  readonly service: string
  readonly result: 'passed' | 'failed' | 'skipped'
  /** Empty where there is nothing to say. */
  readonly reason: string
}

interface Plan {
  readonly service: ServiceConfig
  readonly checks: readonly HealthCheck[]
}

/** One result for each service with checks in its card. @throws `signal.reason` */
export async function checkEngines(
  context: Context,
  config: Config,
  infos: readonly ServiceInfo[],
): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  const plans: Plan[] = []
  for (const { id, card } of infos) {
    const checks = card?.healthChecks ?? []
    if (checks.length === 0) continue
    const service = config.services.find((one) => one.id === id)
    const reason = service && (await whyNot(context, config, service))
    if (service === undefined) results.push(skipped(id, 'it is not among the configured services'))
    else if (reason !== undefined) results.push(skipped(id, reason))
    else plans.push({ service, checks })
  }
  for (const plan of plans) {
    context.say(`asking the engine of ${plan.service.id}; --no-check leaves that out`)
    results.push(await checkOne(context, config, plan))
  }
  return results
}

async function whyNot(
  context: Context,
  config: Config,
  { backend }: ServiceConfig,
): Promise<string | undefined> {
  if (backend.kind !== 'llamacpp') return undefined
  const report = await reportOf(context, config)
  const isThere = !(report instanceof OpsError) || report.code !== 'NOT_RUNNING'
  return isThere ? 'a daemon runs here, whose engine is not loaded twice' : undefined
}

/** The first check that is not passed decides. */
async function checkOne(context: Context, config: Config, plan: Plan): Promise<CheckResult> {
  const { service, checks } = plan
  const life = new Lifetime()
  try {
    const inference = await openEngine(context, config, service, life)
    for (const check of checks) {
      const fault = await ask(context, inference, service, check)
      if (fault !== undefined) return { service: service.id, ...fault }
    }
    return { service: service.id, result: 'passed', reason: '' }
  } catch (error) {
    context.signal.throwIfAborted()
    return failed(service.id, errorText(error))
  } finally {
    await life.stop()
  }
}

/** Under a name of its own, so that its record is not taken for that of the daemon's engine. */
async function openEngine(
  context: Context,
  config: Config,
  service: ServiceConfig,
  life: Lifetime,
): Promise<Inference> {
  await ownerOnlyFolder(config.dataDir)
  const frame = {
    config: { ...config, services: [{ ...service, id: checkId(service) }] },
    signers: new Map(),
    deps: { ...context, log: silentLog(), pid: process.pid },
    life,
    options: { serve: true },
    startedAt: context.clock.monotonic(),
  }
  const { inference } = await buildInference(frame, UNSEEN)
  life.own(inference, (part) => part.stop())
  await inference.start(context.signal)
  return inference
}

/** A check is short; it takes what the engine itself finds. */
const UNSEEN: MachineView = { cards: () => undefined, verdict: () => undefined }

function checkId({ id }: ServiceConfig): string {
  return `check-${id}`
}

type Fault = Pick<CheckResult, 'result' | 'reason'>

/** Undefined: passed. */
async function ask(
  { clock, signal }: Context,
  inference: Inference,
  service: ServiceConfig,
  check: HealthCheck,
): Promise<Fault | undefined> {
  const request = requestOf(check)
  if (request === undefined)
    return { result: 'skipped', reason: `a check of type ${check.rpcType} cannot be asked here` }
  const deadline = ms(clock.monotonic() + service.deadline)
  const answer = await inference.answer(checkId(service), request, { signal, deadline })
  const { status, body } = answer
  if (status < 200 || status > 299)
    return { result: 'failed', reason: `it answers with status ${status}${reasonIn(answer)}` }
  return faultIn(body, check.expect)
}

function requestOf({ rpcType, request }: HealthCheck): HttpRequest | undefined {
  const make = (method: string, path: string, body: unknown): HttpRequest => ({
    method,
    url: `http://gateway.local${path}`,
    headers: [['Content-Type', 'application/json'] as const],
    body: body === undefined ? new Uint8Array(0) : utf8(JSON.stringify(body)),
  })
  if (rpcType === 'JSON_RPC' || rpcType === 'WEBSOCKET') return make('POST', '/', request)
  const { path, method = 'GET', body } = request
  if (rpcType !== 'REST' || typeof path !== 'string' || typeof method !== 'string') return undefined
  return make(method, path.startsWith('/') ? path : `/${path}`, body)
}

/** The message of an error answer: ours, and no part of any prompt. */
function reasonIn({ body }: InferenceAnswer): string {
  const message = valueAt(json(body), '$.error.message')?.value
  return typeof message === 'string' ? `: ${shown(message)}` : ''
}

/** How much of an answer a pattern is held against. */
const VALUE_MAX = 10_000
const PATTERN_TIME_MAX = 200

/** Undefined: the answer is as expected. */
export function faultIn(body: Uint8Array, expect: HealthCheck['expect']): Fault | undefined {
  const { jsonPath, matches } = expect
  if (jsonPath === undefined && matches === undefined) return undefined
  const path = jsonPath ?? '$'
  const found = valueAt(json(body), path)
  const where = shown(path)
  if (found === undefined) return { result: 'skipped', reason: `the path ${where} cannot be read` }
  const { value } = found
  if (value === undefined || value === null)
    return { result: 'failed', reason: `its answer has no ${where}` }
  if (matches === undefined) return undefined
  const holds = isMatch(value, matches)
  if (holds === undefined)
    return { result: 'skipped', reason: `the pattern for ${where} cannot be read` }
  return holds ? undefined : { result: 'failed', reason: `${where} is not as the card expects` }
}

/** Words that cards use, or a regular expression; undefined for one that is none or takes too long. */
function isMatch(value: unknown, matches: string): boolean | undefined {
  if (/^non-?empty( \w+)?$/i.test(matches.trim()))
    return typeof value === 'object' ? Object.keys(value ?? {}).length > 0 : value !== ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const box = { pattern: matches, text: text.slice(0, VALUE_MAX) }
  try {
    return runInNewContext('new RegExp(pattern).test(text)', box, { timeout: PATTERN_TIME_MAX })
  } catch {
    return undefined
  }
}

function json(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body))
  } catch {
    return undefined
  }
}

/** `$`, `.name`, `['name']`, `[0]`; undefined for any other path. `value` undefined: nothing is there. */
function valueAt(root: unknown, path: string): { readonly value: unknown } | undefined {
  const rest = path.startsWith('$') ? path.slice(1) : `.${path}`
  let value = root
  let read = 0
  for (const part of rest.matchAll(/\.([\w-]+)|\[(\d{1,6})\]|\['([^'\]]*)'\]|\["([^"\]]*)"\]/gy)) {
    const name = part[1] ?? part[2] ?? part[3] ?? part[4] ?? ''
    const isObject = typeof value === 'object' && value !== null
    value =
      isObject && Object.hasOwn(value as object, name)
        ? Reflect.get(value as object, name)
        : undefined
    read += part[0].length
  }
  return read === rest.length ? { value } : undefined
}

function skipped(service: string, reason: string): CheckResult {
  return { service, result: 'skipped', reason }
}

function failed(service: string, reason: string): CheckResult {
  return { service, result: 'failed', reason }
}
