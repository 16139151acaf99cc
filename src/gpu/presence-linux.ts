/**
 * Who sits at a Linux machine. logind says whether somebody is logged in at a screen; how long ago they
 * typed comes from the desktop where it can be asked, else from logind's hint.
 *
 * - GNOME: Mutter's idle monitor on the session bus, X11 and Wayland.
 * - X11: `xprintidle` or `xssstate`; KDE on X11 also on the session bus, in ms. Not under Wayland: XWayland
 *   sees the input of X programs only, and KDE's answer is 0 or an error there.
 * - All else: `IdleHint` (logind.ts), where the desktop sets it.
 *
 * Without logind a display's socket says that there is a session. Tested by test/gpu/presence-linux.ts.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { type Ms, ms } from '../base/units.ts'
import { readSessions, type Session } from './logind.ts'
import type { Presence } from './presence.ts'
import type { Run } from './run.ts'

interface Source {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly fits: (session: Session | undefined) => boolean
}

const isX11 = (session: Session | undefined) => session === undefined || session.type === 'x11'
const SOURCES: readonly Source[] = [
  {
    name: 'GNOME',
    program: 'gdbus',
    args: [
      'call',
      '--session',
      '--dest=org.gnome.Mutter.IdleMonitor',
      '--object-path=/org/gnome/Mutter/IdleMonitor/Core',
      '--method=org.gnome.Mutter.IdleMonitor.GetIdletime',
    ],
    fits: (session) => session === undefined || !/kde|plasma|xfce|sway|hypr/.test(session.desktop),
  },
  { name: 'xprintidle', program: 'xprintidle', args: [], fits: isX11 },
  { name: 'xssstate', program: 'xssstate', args: ['-i'], fits: isX11 },
  {
    name: 'KDE',
    program: 'gdbus',
    args: [
      'call',
      '--session',
      '--dest=org.freedesktop.ScreenSaver',
      '--object-path=/ScreenSaver',
      '--method=org.freedesktop.ScreenSaver.GetSessionIdleTime',
    ],
    // Other desktops answer in seconds.
    fits: (session) => session?.type === 'x11' && /kde|plasma/.test(session.desktop),
  },
]

/** So many looks in a row without an answer, and what answered before counts as gone. */
const LOST_LOOKS = 12

/** A bare number, or `(uint64 12345,)` as gdbus prints it, in ms. */
export function parseIdleMs(text: string): Ms | undefined {
  const match = /^\s*(?:\((?:u?int\d+ )?(\d{1,15}),\)|(\d{1,15}))\s*$/.exec(text)
  const value = match?.[1] ?? match?.[2]
  return value === undefined ? undefined : ms(Number(value))
}

export interface LinuxDeps {
  readonly clock: Clock
  readonly run: Run
  readonly root: string
}

export class LinuxPresence {
  readonly #deps: LinuxDeps
  /** What answered last: asked first, and missed when it does not answer. */
  #source: Source | undefined
  #hasLogind = false
  #lost = 0

  constructor(deps: LinuxDeps) {
    this.#deps = deps
  }

  /** undefined: what told it before does not answer now. @throws signal.reason */
  async read(signal: AbortSignal): Promise<Presence | undefined> {
    const { run, clock } = this.#deps
    const sessions = await readSessions(run, () => clock.now(), signal)
    signal.throwIfAborted()
    if (sessions === undefined && this.#hasLogind && this.#isMissed()) return undefined
    this.#hasLogind = sessions !== undefined
    if (sessions === undefined) return await this.#byDisplay(signal)
    if (sessions.length === 0) return found({ session: 'none', source: 'logind' })
    const present = sessions.filter(({ isActive, isLocked }) => isActive && !isLocked)
    if (present.length === 0) return found({ session: 'local', isLocked: true, source: 'logind' })
    const answer = await this.#ask(present[0], signal)
    if (answer === undefined && this.#source !== undefined && this.#isMissed()) return undefined
    if (answer === undefined) this.#source = undefined
    this.#lost = 0
    return byHints(present, answer)
  }

  async #byDisplay(signal: AbortSignal): Promise<Presence | undefined> {
    if (!(await hasDisplay(this.#deps.root)))
      return found({ session: 'none', source: 'no display' })
    const answer = await this.#ask(undefined, signal)
    if (answer !== undefined)
      return found({ session: 'local', idleFor: answer.idleFor, source: answer.source })
    if (this.#source !== undefined && this.#isMissed()) return undefined
    return found({ session: 'unknown', source: 'display', problems: [adviceFor(undefined)] })
  }

  /** Once is a hiccup; for a minute, it is gone. */
  #isMissed(): boolean {
    return ++this.#lost < LOST_LOOKS
  }

  async #ask(
    session: Session | undefined,
    signal: AbortSignal,
  ): Promise<{ idleFor: Ms; source: string } | undefined> {
    const before = this.#source
    const fitting = SOURCES.filter(({ fits }) => fits(session))
    const order = [...fitting].sort((a, b) => Number(b === before) - Number(a === before))
    for (const source of order) {
      const text = await this.#deps.run(source.program, source.args, signal)
      signal.throwIfAborted()
      const idleFor = text === undefined ? undefined : parseIdleMs(text)
      if (idleFor === undefined) continue
      this.#source = source
      this.#lost = 0
      return { idleFor, source: source.name }
    }
    return undefined
  }
}

/** The desktop's answer is for the session that we run in; others are known by their hint. */
function byHints(
  present: readonly Session[],
  answer: { idleFor: Ms; source: string } | undefined,
): Presence {
  const hints = present.slice(answer === undefined ? 0 : 1).map(({ idleFor }) => idleFor)
  const known = [answer?.idleFor, ...hints].filter((value) => value !== undefined)
  const isUnknown = answer === undefined && hints.some((value) => value === undefined)
  const source = answer?.source ?? 'logind'
  if (!isUnknown || known.some((idle) => idle === 0))
    return found({ session: 'local', idleFor: ms(Math.min(...known)), source })
  return found({ session: 'local', source, problems: [adviceFor(present[0])] })
}

function adviceFor(session: Session | undefined): string {
  if (session === undefined || session.type === 'x11')
    return 'It cannot be told when you last typed. Install xprintidle, and run the supplier in your own session.'
  const name = session.desktop === '' ? 'this desktop' : session.desktop
  return `It cannot be told when you last typed: ${name} under Wayland tells it to nobody. A locked screen counts as away; list your programs, or set hours.`
}

function found(what: Partial<Presence> & Pick<Presence, 'session' | 'source'>): Presence {
  return { isLocked: false, problems: [], ...what }
}

/** A socket of X11 (`/tmp/.X11-unix/X0`) or of Wayland (`/run/user/1000/wayland-0`). */
async function hasDisplay(root: string): Promise<boolean> {
  const list = (...path: string[]) => readdir(join(root, ...path)).catch((): string[] => [])
  if ((await list('tmp', '.X11-unix')).some((name) => /^X\d+$/.test(name))) return true
  for (const user of (await list('run', 'user')).slice(0, 64))
    if ((await list('run', 'user', user)).some((name) => /^wayland-\d+$/.test(name))) return true
  return false
}
