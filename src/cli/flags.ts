/** Flags that are read as the configuration reads the same settings. Tests: test/cli/roles.ts. */
import { InvalidArgumentError } from 'commander'
import type { z } from 'zod'

/** Text of a setting to its value (config/values.ts). */
export type Form<T> = z.ZodType<T, string>

/** For commander, which names the flag. */
export function flag<T>(form: Form<T>): (text: string) => T {
  return (text) => {
    const read = form.safeParse(text)
    if (read.success) return read.data
    throw new InvalidArgumentError(faultOf(read.error))
  }
}

export function faultOf({ issues }: z.ZodError): string {
  return issues.map(({ message }) => message).join('; ')
}
