/**
 * Who is logged in, as systemd's logind or elogind tells it (`loginctl`). It is the only source that a
 * system service can ask: buses and displays of a session are closed to it.
 *
 * `IdleHint` is set by the desktop, after a delay of its own; sway, Hyprland and others never set it. So
 * `no` says "in use" only where the desktop is known to set it, or has set it before. Tested by
 * test/gpu/logind.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import type { Run } from './run.ts'

export interface Session {
  readonly id: string
  readonly user: string
  readonly type: 'x11' | 'wayland' | 'mir'
  /** Such as `gnome` or `kde`, in small letters; empty where it does not say. */
  readonly desktop: string
  /** It is the one that is on the screen. */
  readonly isActive: boolean
  readonly isLocked: boolean
  /** By the desktop's own hint; absent: it does not say. 0: in use within the desktop's own delay. */
  readonly idleFor?: Ms
}

/** More are not looked at. */
const SESSIONS_MAX = 64
const PROPERTIES =
  'Id Name Class Type State Active Remote Desktop IdleHint IdleSinceHint LockedHint'.split(' ')
/** Desktops that set the hint. */
const HINTING = /gnome|ubuntu|pop|unity|budgie|cinnamon/

/** Ids of `loginctl list-sessions --no-legend`: the first column in every version. */
export function parseSessionIds(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/)[0] ?? '')
    .filter((id) => /^[a-z]?\d+$/.test(id))
    .slice(0, SESSIONS_MAX)
}

/**
 * Graphical sessions of people at this machine, of `loginctl show-session`: blocks of `Name=value` with
 * an empty line between them. @param now of the clock on the wall, as the hints are
 */
export function parseSessions(text: string, now: Ms): Session[] {
  const out: Session[] = []
  for (const block of text.split(/\n\s*\n/)) {
    const values = new Map<string, string>()
    for (const line of block.split('\n')) {
      const at = line.indexOf('=')
      if (at > 0) values.set(line.slice(0, at).trim(), line.slice(at + 1).trim())
    }
    const session = sessionOf(values, now)
    if (session !== undefined) out.push(session)
  }
  return out
}

function sessionOf(values: ReadonlyMap<string, string>, now: Ms): Session | undefined {
  const type = values.get('Type')
  if (type !== 'x11' && type !== 'wayland' && type !== 'mir') return undefined
  // `greeter` is the login screen, `lock-screen` belongs to another session, `background` has no screen.
  if (values.get('Class')?.split('-')[0] !== 'user' || values.get('Remote') === 'yes')
    return undefined
  if (values.get('State') === 'closing') return undefined
  const desktop = (values.get('Desktop') ?? '').toLowerCase()
  const idleFor = hintOf(values, desktop, now)
  return {
    id: values.get('Id') ?? '',
    user: values.get('Name') ?? '',
    type,
    desktop,
    isActive: values.get('Active') === 'yes',
    isLocked: values.get('LockedHint') === 'yes',
    ...(idleFor === undefined ? {} : { idleFor }),
  }
}

function hintOf(values: ReadonlyMap<string, string>, desktop: string, now: Ms): Ms | undefined {
  const hint = values.get('IdleHint')
  const sinceMicros = Number(values.get('IdleSinceHint') ?? 0)
  const wasSet = Number.isFinite(sinceMicros) && sinceMicros > 0
  if (hint === 'yes' && wasSet) return ms(Math.max(0, now - sinceMicros / 1_000))
  if (hint === 'no' && (wasSet || HINTING.test(desktop))) return ms(0)
  return undefined
}

/** undefined: there is no logind here, or it does not answer now. */
export async function readSessions(
  run: Run,
  now: () => Ms,
  signal: AbortSignal,
): Promise<Session[] | undefined> {
  const list = await run('loginctl', ['list-sessions', '--no-legend', '--no-pager'], signal)
  if (list === undefined) return undefined
  const ids = parseSessionIds(list)
  if (ids.length === 0) return []
  const properties = PROPERTIES.map((name) => `--property=${name}`)
  const text = await run('loginctl', ['show-session', '--no-pager', ...properties, ...ids], signal)
  return text === undefined ? undefined : parseSessions(text, now())
}
