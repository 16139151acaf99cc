/** The engines' start, which must not stand in the way of claims. Tested by test/e2e/engine-down.ts. */
import { SupplierError } from '../base/errors.ts'
import type { Inference } from '../inference/inference.ts'
import { type Frame, fatal } from './supplier.ts'

/**
 * An engine that does not start must not keep relays from being claimed that were answered before. Where
 * nothing waits, a fault that only the owner can mend ends the start, since he is looking.
 */
export async function startEngines(
  frame: Frame,
  inference: Inference,
  hasSessions: boolean,
): Promise<void> {
  const { deps, life } = frame
  try {
    await inference.start(life.signal)
  } catch (error) {
    life.signal.throwIfAborted()
    const mendsItself = error instanceof SupplierError && error.retryable
    if (!hasSessions && !mendsItself) throw error
    deps.log.error({ err: error }, 'an engine does not start; it is tried again, claims go on')
  }
  life.run((signal) => inference.run(signal), fatal(frame, 'the engines are not looked after'))
}
