/**
 * Who sits at a Windows machine, by one PowerShell command around `GetLastInputInfo`. It tells of the
 * session that it runs in, and a service (session 0) has none. While the lock screen is shown, `LogonUI`
 * runs in the session. Tested by test/gpu/presence-windows.ts.
 */
import { ms } from '../base/units.ts'
import type { Presence } from './presence.ts'
import type { Run } from './run.ts'

/** Prints such as `session=1 idle=5312 locked=0`. Ticks are of 32 bits and wrap. */
export const WINDOWS_INPUT = `$ErrorActionPreference='Stop'
Add-Type -TypeDefinition 'using System; using System.Runtime.InteropServices;
public static class Input { [StructLayout(LayoutKind.Sequential)] struct Info { public uint Size; public uint Time; }
[DllImport("user32.dll")] static extern bool GetLastInputInfo(ref Info info);
public static uint Idle() { var info = new Info(); info.Size = 8; if (!GetLastInputInfo(ref info)) return uint.MaxValue;
return unchecked((uint)Environment.TickCount - info.Time); } }'
$session=[Diagnostics.Process]::GetCurrentProcess().SessionId
$locked=@(Get-Process -Name LogonUI -ErrorAction SilentlyContinue | Where-Object SessionId -eq $session).Count
"session=$session idle=$([Input]::Idle()) locked=$locked"`

const UNKNOWN = 0xffff_ffff

export function powershell(script: string): readonly string[] {
  return ['-NoLogo', '-NoProfile', '-NonInteractive', '-Command', script]
}

export function parseWindowsInput(text: string): Presence | undefined {
  const match = /session=(\d+) idle=(\d+) locked=(\d+)/.exec(text)
  if (match === null) return undefined
  const [, session, idle, locked] = match.map(Number)
  const source = 'Windows'
  if (session === 0)
    return {
      session: 'unknown',
      isLocked: false,
      source,
      problems: [
        'A Windows service cannot tell when you last typed. Start the supplier at logon, in your own session.',
      ],
    }
  const isKnown = idle !== undefined && idle !== UNKNOWN
  return {
    session: 'local',
    ...(isKnown ? { idleFor: ms(idle) } : {}),
    isLocked: (locked ?? 0) > 0,
    source,
    problems: isKnown ? [] : ['It cannot be told when you last typed: Windows does not say.'],
  }
}

/** undefined: PowerShell does not answer now. */
export async function windowsPresence(
  run: Run,
  signal: AbortSignal,
): Promise<Presence | undefined> {
  const text = await run('powershell.exe', powershell(WINDOWS_INPUT), signal)
  return text === undefined ? undefined : parseWindowsInput(text)
}
