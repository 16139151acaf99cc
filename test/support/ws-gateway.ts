/** WebSockets of the devnet's gateway to the supplier of a `Network`. */
import { systemClock } from '../../src/base/clock.ts'
import {
  GATEWAY_SOCKET_DEFAULTS,
  GatewaySocket,
  type GatewaySocketOptions,
} from '../../src/devnet/gateway-ws.ts'
import { RPCType } from '../../src/protocol/gen/pocket/shared/shared.ts'
import type { Network } from './network.ts'

/** A connection for the present session. */
export async function connect(
  network: Network,
  frame: GatewaySocketOptions['frame'] = 'binary',
): Promise<GatewaySocket> {
  const session = await network.session()
  const { gateway } = network
  const operator = network.operators[0]?.signer.address
  return await GatewaySocket.open(
    { gateway, clock: systemClock },
    session,
    gateway.choose(session, operator, RPCType.WEBSOCKET),
    new AbortController().signal,
    { ...GATEWAY_SOCKET_DEFAULTS, frame },
  )
}

export function chat(prompt: string): Uint8Array {
  return Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: prompt }] }))
}
