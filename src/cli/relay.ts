/**
 * `pokt-supplier relay`: sends one signed relay to any supplier and shows what came back.
 * Tests: test/cli/relay.ts.
 */
import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { readSecretFile } from '../base/files.ts'
import { silentLog } from '../base/log.ts'
import { RETRY_DEFAULTS, retry } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { Query } from '../chain/query.ts'
import { Rpc } from '../chain/rpc.ts'
import { GATEWAY_DEFAULTS, Gateway, type GatewayChain, type Relayed } from '../devnet/gateway.ts'
import { type RelayedStream, relayStream } from '../devnet/gateway-stream.ts'
import { GatewaySocket, type RelayedMessage } from '../devnet/gateway-ws.ts'
import { readKeyfile } from '../keys/keyfile.ts'
import { signerOf } from '../keys/keyring.ts'
import { parseAddress } from '../protocol/address.ts'
import { RPCType } from '../protocol/gen/pocket/shared/shared.ts'
import type { HttpRequest } from '../protocol/http.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { passphraseFor } from './signers.ts'

interface Options {
  rpc: string
  key: string
  passphraseFile?: string
  app?: string
  service: string
  supplier?: string
  prompt?: string
  path: string
  method: string
  bodyFile?: string
  websocket?: boolean
  stream?: boolean
  json?: boolean
}

type Sent = Relayed | RelayedMessage | RelayedStream

export function relayCommand(context: Context): Command {
  return new Command('relay')
    .description('send one relay as an application or its gateway, and show what came back')
    .requiredOption('--rpc <url>', 'CometBFT RPC endpoint of a node', httpUrl)
    .requiredOption('--key <file>', 'key file of the application, or of a gateway it delegated to')
    .option('--passphrase-file <file>', 'its passphrase; else POKT_SUPPLIER_PASSPHRASE or a prompt')
    .option('--app <address>', 'the application that pays (default: the address of the key)')
    .requiredOption('--service <id>', 'the service')
    .option('--supplier <address>', 'this supplier of the session and no other')
    .option('--prompt <text>', 'a chat message')
    .option('--body-file <file>', 'the JSON body instead of a chat message')
    .option('--path <path>', 'path inside the relay', innerPath, '/v1/chat/completions')
    .option('--method <method>', 'method inside the relay', 'POST')
    .addOption(
      new Option(
        '--websocket',
        'as a message over a WebSocket, which has no path or method',
      ).conflicts(['path', 'method']),
    )
    .addOption(
      new Option(
        '--stream',
        'ask for a stream in signed frames, and show its events as they come',
      ).conflicts(['websocket']),
    )
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
Example:
  pokt-supplier relay --rpc http://127.0.0.1:26657 --key gateway.json --app pokt1... \\
    --service text-generation --prompt "What is 17 + 25?"
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const relayed = await send(context, options)
      context.print(
        options.json === true ? JSON.stringify(asData(relayed), null, 2) : asText(relayed),
      )
      if (!relayed.verified) throw new CliError('RELAY_REFUSED', relayed.fault)
    })
}

async function send(context: Context, options: Options): Promise<Sent> {
  const { clock, random, curve, randomBytes, signal } = context
  const body = await bodyOf(options)
  await readSecretFile(options.key)
  const rpc = new Rpc(
    { clock, random, log: silentLog() },
    { endpoints: [options.rpc], timeout: ms(10_000) },
  )
  try {
    const secret = await readKeyfile(
      options.key,
      await passphraseFor(context, options.key, options.passphraseFile),
    )
    const application = parseAddress(options.app ?? signerOf(secret, curve).address)
    const chain = gatewayChain({ clock, random }, new Query({ rpc, clock }), rpc)
    const gateway = new Gateway(
      { chain, curve, clock, randomBytes },
      { ...GATEWAY_DEFAULTS, application, privateKey: secret.privateKey },
    )
    if (options.websocket === true)
      return await sendMessage(context, options, { gateway, chain, application, body })
    const inner: HttpRequest = {
      method: options.method,
      url: `http://gateway.local${options.path}`,
      headers: [['Content-Type', 'application/json'] as const],
      body,
    }
    if (options.stream === true) return await sendStream(context, options, gateway, inner)
    return await gateway.relay(options.service, inner, signal, options.supplier)
  } finally {
    await rpc.close()
  }
}

async function sendStream(
  { print, signal }: Context,
  { service, supplier, json }: Options,
  gateway: Gateway,
  inner: HttpRequest,
): Promise<RelayedStream> {
  const { url, request } = await gateway.prepare(service, inner, signal, supplier)
  const decoder = new TextDecoder()
  const onText = (text: Uint8Array) =>
    print(decoder.decode(text, { stream: true }).replace(/\n$/, ''))
  const to = { url, request, method: inner.method }
  return await relayStream(gateway, to, signal, json === true ? {} : { onText })
}

async function sendMessage(
  { clock, signal }: Context,
  { service, supplier }: Options,
  from: { gateway: Gateway; chain: GatewayChain; application: string; body: Uint8Array },
): Promise<RelayedMessage> {
  const { gateway, chain, application, body } = from
  const session = await chain.session(application, service, signal)
  const chosen = gateway.choose(session, supplier, RPCType.WEBSOCKET)
  const socket = await GatewaySocket.open({ gateway, clock }, session, chosen, signal)
  try {
    return await socket.relay(body, signal)
  } finally {
    await socket.close()
  }
}

/** A node as a gateway asks it. */
export function gatewayChain(
  deps: { clock: Clock; random: () => number },
  query: Query,
  rpc: Pick<Rpc, 'status'>,
): GatewayChain {
  return {
    // A node announces a block a moment before its state has it.
    session: (application, serviceId, signal) =>
      retry(deps, RETRY_DEFAULTS, signal, async () => {
        const { height } = await rpc.status(signal)
        return await query.session(application, serviceId, height, signal)
      }),
    publicKey: async (address, signal) => (await query.account(address, signal))?.publicKey,
  }
}

async function bodyOf({ prompt, bodyFile, method, stream }: Options): Promise<Uint8Array> {
  if (bodyFile !== undefined)
    return await readFile(bodyFile).catch((cause: unknown) => {
      throw new CliError('FILE', `cannot read ${bodyFile}`, { cause })
    })
  if (prompt !== undefined)
    return utf8(
      JSON.stringify({
        messages: [{ role: 'user', content: prompt }],
        ...(stream === true ? { stream } : {}),
      }),
    )
  if (method === 'GET') return new Uint8Array(0)
  throw new CliError('USAGE', 'a relay needs --prompt or --body-file')
}

function httpUrl(text: string): string {
  if (/^https?:/.test(text) && URL.canParse(text)) return text
  throw new InvalidArgumentError('write a URL such as http://127.0.0.1:26657')
}

function innerPath(text: string): string {
  if (text.startsWith('/')) return text
  throw new InvalidArgumentError('a path begins with /')
}

/** What was answered, if it was signed; a message has no status. */
function answerOf(sent: Sent): { status?: number; body?: string } {
  if ('frame' in sent)
    return sent.body === undefined ? {} : { body: new TextDecoder().decode(sent.body) }
  const { inner } = sent
  return inner === undefined
    ? {}
    : { status: inner.status, body: new TextDecoder().decode(inner.body) }
}

function asData(sent: Sent): Record<string, unknown> {
  const { supplier, verified, fault, error, duration } = sent
  return {
    supplier,
    verified,
    ...(fault === '' ? {} : { fault }),
    ...(error === undefined ? {} : { relayMinerError: error }),
    ...answerOf(sent),
    ...('frames' in sent ? { frames: sent.frames, firstFrameMs: rounded(sent.firstFrame) } : {}),
    durationMs: Math.round(duration),
  }
}

function asText(sent: Sent): string {
  const { supplier, verified, fault, error, duration } = sent
  const { status, body } = answerOf(sent)
  const lines = [
    `supplier   ${supplier}`,
    `signature  ${verified ? 'good' : `not good: ${fault}`}`,
    `took       ${Math.round(duration)} ms`,
  ]
  const hasFrames = 'frames' in sent && sent.frames > 0
  if (hasFrames)
    lines.push(`frames     ${sent.frames}, the first after ${rounded(sent.firstFrame)} ms`)
  if (error !== undefined)
    lines.push(`error      ${error.codespace} ${error.code}: ${error.message}`)
  if (status !== undefined) lines.push(`status     ${status}`)
  if (body !== undefined && !hasFrames) lines.push('', body)
  return lines.join('\n')
}

function rounded(duration: Ms | undefined): number | undefined {
  return duration === undefined ? undefined : Math.round(duration)
}
