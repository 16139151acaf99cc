/** What differs from service to service in how its relays are answered. */
import { type Ms, ms } from '../base/units.ts'

/**
 * What becomes of `stream: true`. `refuse`: a 400 that names the field, since public gateways take events
 * for a failure; `single`: all events in one signed answer; `batched`: signed frames, as they come.
 */
export const STREAMING = ['refuse', 'single', 'batched'] as const

export type Streaming = (typeof STREAMING)[number]

export interface ServiceRules {
  readonly streaming: Streaming
  /** From the request's last byte to the answer's: gateways give up after 60 s, and the way takes time. */
  readonly deadline: Ms
}

export const SERVICE_RULES: ServiceRules = { streaming: 'refuse', deadline: ms(55_000) }
