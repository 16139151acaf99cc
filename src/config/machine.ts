/**
 * When the owner's machine may be used, and where models come from and lie: the parts `machine` and `models`
 * of supplier.yaml. Tested by test/config/load.ts and test/config/example.ts.
 */
import { z } from 'zod'
import { parseSchedule } from '../gpu/schedule.ts'
import { duration, httpUrl, memory } from './values.ts'

export const SERVE = ['when-idle', 'always', 'schedule'] as const

const hours = z
  .array(z.string().min(1))
  .min(1)
  .superRefine((entries, context) => {
    try {
      parseSchedule(entries)
    } catch (error) {
      context.addIssue(error instanceof Error ? error.message : String(error))
    }
  })
  .optional()
  .describe(
    'Hours in which it may serve, such as "mon-fri 18:00-08:00" or "sat,sun"; by default all.',
  )

const timeZone = z
  .string()
  .refine((zone) => {
    try {
      parseSchedule(['daily'], zone)
      return true
    } catch {
      return false
    }
  }, 'write a time zone such as Europe/Berlin')
  .optional()
  .describe("Of the hours; by default the machine's own.")

export const machine = z
  .strictObject({
    serve: z
      .enum(SERVE)
      .default('when-idle')
      .describe(
        'when-idle: while nobody uses the machine; schedule: in its hours, whoever sits there; always: unless it is paused, hot or on battery. A machine without a screen is always idle.',
      ),
    hours,
    timeZone,
    inputIdle: duration('1s')
      .prefault('3m')
      .describe('Without a key or a movement for so long, nobody is there.'),
    unknownInput: z
      .enum(['serve', 'yield'])
      .default('serve')
      .describe('What to do where a screen is in use and nothing tells when somebody typed.'),
    onBattery: z.boolean().default(false).describe('Also serve without mains power.'),
    programs: z
      .array(z.string().min(1).max(200))
      .max(200)
      .default([])
      .describe('While one of these programs runs, nothing is served: games, editors.'),
    inhibitors: z
      .boolean()
      .default(true)
      .describe('Whether a film, a meeting or a full-screen window counts as use.'),
    inhibitorsIgnored: z
      .array(z.string().min(1).max(200))
      .max(200)
      .default([])
      .describe('Programs that always keep the screen awake.'),
    gpuLoadMax: z
      .int()
      .min(1)
      .max(100)
      .default(20)
      .describe("Others' load of a card above which it is left to them, in percent."),
    gpuMemoryMax: memory
      .optional()
      .describe("Others' memory of a card above which it is left to them; by default half of it."),
    temperatureMax: z
      .int()
      .min(40)
      .max(120)
      .default(87)
      .describe('°C. A card that was as hot rests until it is 8 °C cooler.'),
    powerLimit: z
      .int()
      .min(20)
      .max(2_000)
      .optional()
      .describe(
        "Watts that a card may take while it serves, where its driver lets us; the value from before is put back. By default the card's own.",
      ),
    yieldGrace: duration('0s')
      .prefault('5s')
      .describe('How long running answers may go on when the owner comes back.'),
    resumeAfter: duration('1s')
      .prefault('60s')
      .describe('It serves again after so long without a reason not to.'),
    powerPrice: z
      .number()
      .min(0)
      .max(100)
      .optional()
      .describe('What a kWh costs you, in your money; it is shown beside what was earned.'),
    memoryMax: memory
      .optional()
      .describe(
        'Memory for all models together, on each card or without one in the machine; models that do not fit take turns. By default what is free.',
      ),
  })
  .prefault({})
  .describe('When this machine may be used, and how much of it.')

export const models = z
  .strictObject({
    folder: z
      .string()
      .min(1)
      .optional()
      .describe('Where weights are kept; by default `models` in the data folder.'),
    catalogue: z
      .string()
      .min(1)
      .optional()
      .describe('A folder with model files of your own, beside the ones that come along.'),
    bandwidthMax: memory.optional().describe('Of downloads, for each second; by default none.'),
    huggingFace: z
      .strictObject({
        endpoint: httpUrl.optional().describe('A mirror; by default HF_ENDPOINT, or the site.'),
        tokenFile: z
          .string()
          .min(1)
          .optional()
          .describe('A file with your token, readable only by you; for models behind a licence.'),
      })
      .prefault({}),
    ollamaRegistry: httpUrl.optional().describe("By default Ollama's own."),
    ipfsGateways: z.array(httpUrl).min(1).max(20).optional().describe('Tried in this order.'),
  })
  .prefault({})
  .describe('Where models come from and where they lie.')

export type MachineConfig = z.output<typeof machine>
export type ModelsConfig = z.output<typeof models>
