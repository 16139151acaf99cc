/** The relay port's parts, wired. */
import { withDeadline } from '../base/retry.ts'
import { ms } from '../base/units.ts'
import { RingVerifier } from '../crypto/ring.ts'
import type { Inference } from '../inference/inference.ts'
import { Authorizer } from '../relay/authorize.ts'
import { HANDLER_DEFAULTS, RelayHandler } from '../relay/handler.ts'
import { Remaining } from '../relay/remaining.ts'
import { RingKeys } from '../relay/ringkeys.ts'
import { RELAY_SERVER_DEFAULTS, RelayServer } from '../relay/server.ts'
import { RELAY_SOCKETS_DEFAULTS, RelaySockets } from '../relay/websocket.ts'
import type { ChainParts } from './chain.ts'
import type { MinerParts } from './miner.ts'
import type { Frame } from './supplier.ts'

export interface RelayParts {
  readonly server: RelayServer
  readonly handler: RelayHandler
}

/** Longer than gateways wait for the first answer, far shorter than a block on the real chain. */
const NEXT_BLOCK_WAIT = ms(5_000)

/** @param served applications that sent relays before the start */
export function buildRelay(
  frame: Frame,
  { blocks, cached }: ChainParts,
  { intake, meter }: MinerParts,
  inference: Inference,
  served: Iterable<string>,
): RelayParts {
  const { clock, curve } = frame.deps
  const log = frame.deps.log.child({ component: 'relay' })
  const { relay } = frame.config
  const services = new Set(frame.config.services.map(({ id }) => id))
  const authorizer = new Authorizer({
    blocks,
    chain: cached,
    rings: new RingKeys({ chain: cached, verifier: new RingVerifier({ curve }) }),
    signers: frame.signers,
    services,
    served,
    deadline: (signal, work) => withDeadline(clock, NEXT_BLOCK_WAIT, signal, work),
  })
  const remaining = new Remaining({ clock, blocks, chain: cached })
  const handler = new RelayHandler(
    { clock, authorizer, intake, meter, remaining, inference, log },
    {
      ...HANDLER_DEFAULTS,
      services: new Map(frame.config.services.map((service) => [service.id, service])),
      minedRequestMax: relay.minedRequestMax,
    },
  )
  const sockets = new RelaySockets(
    { clock, handler, blocks, chain: cached, services, suppliers: frame.signers, log },
    { ...RELAY_SOCKETS_DEFAULTS, messageMax: relay.bodyMax },
  )
  const server = new RelayServer(
    { clock, handler, sockets, log },
    { ...RELAY_SERVER_DEFAULTS, ...relay.listen, bodyMax: relay.bodyMax, drainMax: relay.drain },
  )
  return { server, handler }
}
