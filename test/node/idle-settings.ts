import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { machine } from '../../src/config/machine.ts'
import { IDLE_DEFAULTS } from '../../src/gpu/facts.ts'
import { idleSettingsOf } from '../../src/node/idle-settings.ts'

t.test("what is not written is the policy's own default", async (t) => {
  t.strictSame(idleSettingsOf(machine.parse(undefined)), IDLE_DEFAULTS)
})

t.test('what is written is taken, in its units', async (t) => {
  const settings = idleSettingsOf(
    machine.parse({
      serve: 'schedule',
      hours: ['mon-fri 18:00-08:00'],
      timeZone: 'Europe/Berlin',
      inputIdle: '90s',
      unknownInput: 'yield',
      onBattery: true,
      programs: ['game'],
      inhibitors: false,
      inhibitorsIgnored: ['mpd'],
      gpuLoadMax: 35,
      gpuMemoryMax: '2GiB',
      temperatureMax: 80,
      resumeAfter: '2m',
    }),
  )
  const { hours, ...rest } = settings
  t.strictSame(rest, {
    serve: 'schedule',
    inputIdle: ms(90_000),
    unknownInput: 'yield',
    onBattery: true,
    programs: ['game'],
    inhibitors: false,
    inhibitorsIgnored: ['mpd'],
    gpuLoadMax: 0.35,
    gpuMemoryMax: { bytes: 2 * 1024 ** 3 },
    temperatureMax: 80,
    coolDown: IDLE_DEFAULTS.coolDown,
    resumeAfter: ms(120_000),
  })
  // 2026-01-05, a Monday, 17:30 UTC: half past six in Berlin.
  t.equal(hours?.isOpen(ms(Date.UTC(2026, 0, 5, 17, 30))), true)
  t.equal(hours?.isOpen(ms(Date.UTC(2026, 0, 5, 16, 30))), false)
})
