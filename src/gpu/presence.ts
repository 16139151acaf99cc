/**
 * Whether somebody sits at the machine: what is asked on each system, behind one function.
 *
 * Somebody at a text console or over SSH does not count: neither needs the cards. The parts are
 * presence-linux.ts, presence-macos.ts and presence-windows.ts. Tested by test/gpu/presence.ts.
 */
import type { Clock } from '../base/clock.ts'
import type { Ms } from '../base/units.ts'
import { LinuxPresence } from './presence-linux.ts'
import { macPresence } from './presence-macos.ts'
import { windowsPresence } from './presence-windows.ts'
import type { Run } from './run.ts'

export interface Presence {
  /** none: nobody is logged in at a screen, so nobody can be in the way. */
  readonly session: 'none' | 'local' | 'unknown'
  /** Since the last key or movement of the mouse; absent: not known. */
  readonly idleFor?: Ms
  /** Every screen is locked or shows somebody else's session: its user is away. */
  readonly isLocked: boolean
  /** Who told it, for the owner: `GNOME`, `logind`. */
  readonly source: string
  /** What could not be asked, and what to do about it, as sentences for the owner. */
  readonly problems: readonly string[]
}

/** undefined: what told it before does not answer now. */
export type PresenceReader = (signal: AbortSignal) => Promise<Presence | undefined>

export interface PresenceDeps {
  readonly clock: Clock
  readonly run: Run
  /** As Node names it. */
  readonly platform: string
  /** What stands for `/`; tests put a folder here. */
  readonly root?: string
}

export function presenceReader(deps: PresenceDeps): PresenceReader {
  const { clock, run, platform, root = '/' } = deps
  if (platform === 'darwin') return (signal) => macPresence(run, signal)
  if (platform === 'win32') return (signal) => windowsPresence(run, signal)
  if (platform === 'linux') {
    const linux = new LinuxPresence({ clock, run, root })
    return (signal) => linux.read(signal)
  }
  const unknown: Presence = {
    session: 'unknown',
    isLocked: false,
    source: 'nobody',
    problems: [`It is not known how to tell input on ${platform}.`],
  }
  return async () => unknown
}
