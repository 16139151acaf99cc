/**
 * Time as a dependency. Nothing outside this file reads the system's clock or sets a timer
 * (test/tidy.ts holds that); tests move test/support/clock.ts by hand.
 */
import { performance } from 'node:perf_hooks'
import { type Ms, ms } from './units.ts'

export interface Clock {
  /** Milliseconds since 1970. May jump: for time stamps only. */
  now(): Ms
  /** Milliseconds since some start. Never goes back: for durations. */
  monotonic(): Ms
  /** Resolves after `duration`; rejects with `signal.reason` when aborted first. */
  sleep(duration: Ms, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => ms(Date.now()),
  monotonic: () => ms(performance.now()),
  sleep(duration, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = () => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }, duration)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  },
}
