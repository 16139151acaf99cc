import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { type MachineTools, readMachine } from '../../src/gpu/machine.ts'

const { signal } = new AbortController()

t.test('this machine', async (t) => {
  const machine = await readMachine({ clock: systemClock }, join(t.testdirName, 'not/yet'), signal)
  t.ok(machine.cpu.length > 2, machine.cpu)
  t.ok(machine.physicalCores >= 1 && machine.threads >= 1)
  t.ok(machine.memoryFree > 0 && machine.memoryFree <= machine.memoryTotal)
  t.match(machine.system, process.platform)
  t.ok((machine.diskFree ?? 0) > 0, 'where the folder will be')
})

const known: MachineTools = {
  cpu: async () => ({ manufacturer: 'AMD', brand: 'Ryzen 9 7950X', physicalCores: 16 }),
  mem: async () => ({ total: 64e9, available: 48e9 }),
  osInfo: async () => ({ distro: 'Debian', release: '13', kernel: '6.12.1', arch: 'x64' }),
  limit: () => undefined,
}

t.test('as the tools say', async (t) => {
  t.match(await readMachine({ clock: systemClock, tools: known }, '/', signal), {
    ...{ cpu: 'AMD Ryzen 9 7950X', physicalCores: 16, memoryTotal: 64e9, memoryFree: 48e9 },
    system: `Debian 13 (${process.platform} 6.12.1, x64)`,
  })
})

t.test('a container has what it was given', async (t) => {
  const tools = { ...known, limit: () => ({ total: 8e9, free: 5e9 }) }
  t.match(await readMachine({ clock: systemClock, tools }, '/', signal), {
    ...{ memoryTotal: 8e9, memoryFree: 5e9 },
  })
})

t.test('a tool that hangs, fails or tells nonsense does not hold it up', async (t) => {
  const tools: MachineTools = {
    cpu: () => new Promise(() => {}),
    mem: async () => ({ total: 0, available: Number.NaN }),
    osInfo: () => Promise.reject(new TypeError('no such file')),
    limit: () => undefined,
  }
  const machine = await readMachine({ clock: systemClock, tools, limit: ms(50) }, '/', signal)
  t.ok(machine.cpu.length > 0 && machine.physicalCores >= 1)
  t.ok(machine.memoryTotal > 0 && machine.memoryFree > 0)
  t.match(machine.system, process.platform)
  const controller = new AbortController()
  const reason = new Error('stopped')
  const waiting = readMachine({ clock: systemClock, tools }, '/', controller.signal)
  controller.abort(reason)
  await t.rejects(waiting, reason)
})
