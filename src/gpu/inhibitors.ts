/**
 * Programs that keep the screen awake: a film, a meeting, a game. Nobody types then, and the machine is
 * in use all the same.
 *
 * Linux: locks on `idle` that logind holds, GNOME's and KDE's own, a full-screen window of X11 (games by
 * gamepad hold no lock). macOS: `PreventUserIdleDisplaySleep`. Windows: `powercfg /requests`, which only
 * an administrator may ask. Tested by test/gpu/inhibitors.ts.
 */
import type { Presence } from './presence.ts'
import type { Run } from './run.ts'

export interface Inhibitor {
  /** The program, by the name that it gives itself. */
  readonly who: string
  /** As it says it; may be empty. */
  readonly why: string
}

/** More are not looked at. */
const INHIBITORS_MAX = 64
const TEXT_MAX = 80
const OURS = /^pokt-supplier$/i

/** Of `busctl call … ListInhibitors --json=short`: what, who, why, mode, user, process. */
export function parseInhibitorsJson(text: string): Inhibitor[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const rows: unknown = (value as { data?: unknown[] } | null)?.data?.[0]
  if (!Array.isArray(rows)) return undefined
  return rows.flatMap((row: unknown) => {
    if (!Array.isArray(row)) return []
    const [what, who, why, mode] = row.map(String)
    return holdsIdle(what, mode) ? [inhibitor(who, why)] : []
  })
}

/** A line of `systemd-inhibit --list`, whose first and seventh column may hold blanks. */
const LINE =
  /^(.*?)\s+\d+\s+\S+\s+\d+\s+(.*?)\s+((?:shutdown|sleep|idle|handle-[a-z-]+)(?::[a-z-]+)*)\s+(.*?)\s+(block|block-weak|delay)\s*$/

export function parseInhibitorsTable(text: string): Inhibitor[] {
  return text
    .split('\n')
    .slice(0, INHIBITORS_MAX)
    .flatMap((line) => {
      const [, who, , what, why, mode] = LINE.exec(line) ?? []
      return holdsIdle(what, mode) ? [inhibitor(who, why)] : []
    })
}

function holdsIdle(what: string | undefined, mode: string | undefined): boolean {
  return (what ?? '').split(':').includes('idle') && (mode ?? '').startsWith('block')
}

function inhibitor(who = '', why = ''): Inhibitor {
  return { who: short(who) || 'a program', why: short(why) }
}

function short(text: string): string {
  return text
    .replace(/\p{Cc}/gu, ' ')
    .trim()
    .slice(0, TEXT_MAX)
}

/** `   pid 4321(Google Chrome): [0x…] 00:12:01 PreventUserIdleDisplaySleep named: "Video Wake Lock"` */
export function parseAssertions(text: string): Inhibitor[] {
  const lines = text.matchAll(
    /^\s*pid \d+\(([^)]*)\):.*?\b(?:PreventUserIdleDisplaySleep|NoDisplaySleepAssertion)\s+named: "([^"]*)"/gm,
  )
  return [...lines].slice(0, INHIBITORS_MAX).map(([, who, why]) => inhibitor(who, why))
}

/**
 * The part `DISPLAY:` of `powercfg /requests`. Its headings are the same in every language, its "None."
 * is not: a request has a `[PROCESS]` in front.
 */
export function parseRequests(text: string): Inhibitor[] {
  const part = /^DISPLAY:\s*$([\s\S]*?)(?=^[A-Z]+:\s*$|(?![\s\S]))/m.exec(text)?.[1] ?? ''
  return [...part.matchAll(/^\[[A-Z]+\]\s*(.+)$/gm)]
    .slice(0, INHIBITORS_MAX)
    .map(([, path]) => inhibitor((path ?? '').trim().split('\\').at(-1)))
}

/** The id of `xprop -root _NET_ACTIVE_WINDOW`; absent where no window is in front. */
export function parseActiveWindow(text: string): string | undefined {
  const id = /window id # (0x[0-9a-f]+)/i.exec(text)?.[1]
  return id === undefined || Number(id) === 0 ? undefined : id
}

/** Of `xprop -id ID _NET_WM_STATE WM_CLASS`. */
export function parseWindow(text: string): Inhibitor | undefined {
  if (!/^_NET_WM_STATE\b.*\b_NET_WM_STATE_FULLSCREEN\b/m.test(text)) return undefined
  const names = /^WM_CLASS\b[^=]*=\s*(.*)$/m.exec(text)?.[1] ?? ''
  const name = [...names.matchAll(/"([^"]*)"/g)].at(-1)?.[1]
  return inhibitor(name, 'a full-screen window')
}

/** undefined where nobody answered. @throws signal.reason */
export async function readInhibitors(
  run: Run,
  platform: string,
  session: Presence['session'],
  signal: AbortSignal,
): Promise<readonly Inhibitor[] | undefined> {
  // Without a screen nobody looks at one; what holds a lock then is a backup or a server.
  if (session === 'none') return []
  const all = await readers(run, platform, signal)
  signal.throwIfAborted()
  const found = all?.filter(({ who }) => !OURS.test(who))
  return found === undefined ? undefined : [...new Map(found.map((one) => [one.who, one])).values()]
}

async function readers(
  run: Run,
  platform: string,
  signal: AbortSignal,
): Promise<Inhibitor[] | undefined> {
  if (platform === 'darwin') {
    const text = await run('pmset', ['-g', 'assertions'], signal)
    return text === undefined ? undefined : parseAssertions(text)
  }
  if (platform === 'win32') {
    const text = await run('powercfg.exe', ['/requests'], signal)
    return text === undefined ? [] : parseRequests(text)
  }
  const parts = [await fromLogind(run, signal), await fromDesktop(run, signal)]
  return [...parts.flat(), ...(await fromX11(run, signal))]
}

const LOGIND = 'org.freedesktop.login1'

async function fromLogind(run: Run, signal: AbortSignal): Promise<Inhibitor[]> {
  const call = ['call', LOGIND, '/org/freedesktop/login1', `${LOGIND}.Manager`, 'ListInhibitors']
  const json = await run('busctl', [...call, '--json=short'], signal)
  const parsed = json === undefined ? undefined : parseInhibitorsJson(json)
  if (parsed !== undefined) return parsed.slice(0, INHIBITORS_MAX)
  const table = await run('systemd-inhibit', ['--list', '--no-legend', '--no-pager'], signal)
  return table === undefined ? [] : parseInhibitorsTable(table)
}

/** What each desktop is asked, and answers with `(true,)`. 8: idle; 4: the screen's settings. */
const DESKTOPS = [
  [
    'org.gnome.SessionManager',
    '/org/gnome/SessionManager',
    'org.gnome.SessionManager.IsInhibited',
    '8',
  ],
  [
    'org.kde.Solid.PowerManagement.PolicyAgent',
    '/org/kde/Solid/PowerManagement/PolicyAgent',
    'org.kde.Solid.PowerManagement.PolicyAgent.HasInhibition',
    '4',
  ],
] as const

async function fromDesktop(run: Run, signal: AbortSignal): Promise<Inhibitor[]> {
  for (const [dest, path, method, argument] of DESKTOPS) {
    const call = ['call', '--session', `--dest=${dest}`, `--object-path=${path}`]
    const text = await run('gdbus', [...call, `--method=${method}`, argument], signal)
    if (text === undefined) continue
    return /^\s*\(true,\)/.test(text) ? [inhibitor('a program', 'it keeps the screen awake')] : []
  }
  return []
}

async function fromX11(run: Run, signal: AbortSignal): Promise<Inhibitor[]> {
  const active = await run('xprop', ['-root', '_NET_ACTIVE_WINDOW'], signal)
  const id = active === undefined ? undefined : parseActiveWindow(active)
  if (id === undefined) return []
  const text = await run('xprop', ['-id', id, '_NET_WM_STATE', 'WM_CLASS'], signal)
  const window = text === undefined ? undefined : parseWindow(text)
  return window === undefined ? [] : [window]
}
