/** What the owner wrote under `machine` as the idle policy takes it. Tested by test/node/idle-settings.ts. */
import type { MachineConfig } from '../config/machine.ts'
import { IDLE_DEFAULTS, type IdleSettings } from '../gpu/facts.ts'
import { parseSchedule } from '../gpu/schedule.ts'

/** @throws RangeError only where the configuration was not checked */
export function idleSettingsOf(machine: MachineConfig): IdleSettings {
  const { hours, timeZone, gpuLoadMax, gpuMemoryMax } = machine
  return {
    serve: machine.serve,
    ...(hours === undefined ? {} : { hours: parseSchedule(hours, timeZone) }),
    inputIdle: machine.inputIdle,
    unknownInput: machine.unknownInput,
    onBattery: machine.onBattery,
    programs: machine.programs,
    inhibitors: machine.inhibitors,
    inhibitorsIgnored: machine.inhibitorsIgnored,
    gpuLoadMax: gpuLoadMax / 100,
    gpuMemoryMax: gpuMemoryMax === undefined ? IDLE_DEFAULTS.gpuMemoryMax : { bytes: gpuMemoryMax },
    temperatureMax: machine.temperatureMax,
    coolDown: IDLE_DEFAULTS.coolDown,
    resumeAfter: machine.resumeAfter,
  }
}
