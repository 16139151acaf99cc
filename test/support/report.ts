/** A report of a running supplier, with sane values for what a test does not say. */
import type { Report, SessionReport } from '../../src/ops/report.ts'

const OPERATOR = 'pokt1x4rdhtep3kvy6vmw2352da95vtnxwggcz027ar'

export function sessionRow(over: Partial<SessionReport> = {}): SessionReport {
  return {
    sessionId: 'ab'.repeat(32),
    service: 'text-generation',
    supplier: OPERATOR,
    sessionEnd: 60,
    state: 'serving',
    since: 55,
    served: 12,
    ...over,
  }
}

export function report(over: Partial<Report> = {}): Report {
  return {
    version: '1.2.3',
    pid: 4242,
    uptimeSeconds: 3_725,
    serving: true,
    problems: [],
    chain: { id: 'pocket', height: 58, planned: 58 },
    suppliers: [
      {
        operator: OPERATOR,
        balanceUpokt: '99999998',
        stake: { upokt: '60000000000', services: ['text-generation'], unstakingAt: null },
      },
    ],
    relays: { mined: 12, refused: 0, rejected: 3, inFlight: 1 },
    engines: [
      {
        services: ['text-generation'],
        kind: 'llamacpp',
        model: 'tiny-chat',
        device: 'cpu',
        state: 'ready',
        slots: 4,
        active: 1,
        queued: 0,
        tokensPerSecond: 812.6,
      },
    ],
    sessions: [sessionRow()],
    earnings: {
      sessions: 3,
      served: 50,
      claimedUpokt: '30000000',
      settledUpokt: '29200000',
      rewardsUpokt: '22491300',
      lostUpokt: '0',
      unseenUpokt: '0',
      losses: [],
    },
    curve: 'native',
    ...over,
  }
}
