/**
 * Who sits at a Mac, by `ioreg`: `HIDIdleTime` of the input system in ns, and the console's user with
 * `CGSSessionScreenIsLocked`. A root daemon may ask both. Input of a remote control is not counted by
 * macOS. Tested by test/gpu/presence-macos.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import type { Presence } from './presence.ts'
import type { Run } from './run.ts'

/** The least of what `ioreg -c IOHIDSystem` says: every input system has its own. */
export function parseHidIdle(text: string): Ms | undefined {
  const values = [...text.matchAll(/"HIDIdleTime"\s*=\s*(\d{1,20})/g)].map(([, ns]) => Number(ns))
  return values.length === 0 ? undefined : ms(Math.min(...values) / 1e6)
}

/** Users at the console, of `ioreg -n Root -d1`; undefined where it says nothing about them. */
export function parseConsole(text: string): { hasUser: boolean; isLocked: boolean } | undefined {
  const users = /"IOConsoleUsers"\s*=\s*\((.*)\)\s*$/m.exec(text)?.[1]
  if (users === undefined) return undefined
  const atScreen = [...users.matchAll(/\{[^{}]*\}/g)]
    .map(([user]) => user)
    .filter((user) => /"kCGSSessionOnConsoleKey"\s*=\s*Yes/.test(user))
    .filter((user) => !/"kCGSessionLoginDoneKey"\s*=\s*No/.test(user))
  return {
    hasUser: atScreen.length > 0,
    isLocked:
      atScreen.length > 0 &&
      atScreen.every((user) => /"CGSSessionScreenIsLocked"\s*=\s*Yes/.test(user)),
  }
}

/** undefined: `ioreg` does not answer now. */
export async function macPresence(run: Run, signal: AbortSignal): Promise<Presence | undefined> {
  const root = await run('ioreg', ['-n', 'Root', '-d1', '-w0'], signal)
  const seats = root === undefined ? undefined : parseConsole(root)
  if (seats?.hasUser === false)
    return { session: 'none', isLocked: false, source: 'ioreg', problems: [] }
  const input = await run('ioreg', ['-c', 'IOHIDSystem', '-d', '4', '-w0'], signal)
  if (root === undefined && input === undefined) return undefined
  const idleFor = input === undefined ? undefined : parseHidIdle(input)
  return {
    session: seats === undefined ? 'unknown' : 'local',
    ...(idleFor === undefined ? {} : { idleFor }),
    isLocked: seats?.isLocked ?? false,
    source: 'ioreg',
    problems:
      idleFor === undefined ? ['It cannot be told when you last typed: ioreg does not say.'] : [],
  }
}
