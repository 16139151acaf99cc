/**
 * supplier.yaml as one schema: default, meaning and check of a setting stand in one place.
 *
 * Unknown keys are errors, since a typo must not mean "default". Durations and sizes carry their unit
 * in the text. supplier.example.yaml is compared with this by test/config/example.ts.
 */
import { z } from 'zod'
import { LOG_LEVELS } from '../base/log.ts'
import type { GasPrice } from '../chain/tx.ts'
import { machine, models } from './machine.ts'
import { NETWORK_NAMES } from './networks.ts'
import { local, services } from './services.ts'
import { address, amount, duration, gasPrice, httpUrl, listen, size } from './values.ts'

/** What a staked URL is offered for. Gateways skip a supplier without the type they ask for. */
export const RPC_TYPES = ['json_rpc', 'rest', 'websocket'] as const

export const ConfigSchema = z.strictObject({
  network: z
    .enum(NETWORK_NAMES, {
      error:
        'write mainnet, beta or local; for another network write chain.id and chain.rpc instead',
    })
    .optional()
    .describe('mainnet, beta or local: gives what is not written under `chain`.'),
  dataDir: z
    .string()
    .min(1)
    .default('~/.pokt-supplier')
    .describe('Where the database, the engines and the status token live.'),
  chain: z
    .strictObject({
      rpc: z
        .array(httpUrl)
        .min(1)
        .optional()
        .describe(
          'CometBFT RPC endpoints of one chain, the preferred one first; by default those of the network. Three can outvote one that is wrong.',
        ),
      id: z
        .string()
        .min(1)
        .optional()
        .describe("The chain must call itself so; by default the network's."),
      gasPrice: gasPrice
        .optional()
        .describe("What one unit of gas costs; by default the network's."),
      pollEvery: duration('100ms')
        .prefault('3s')
        .describe('How often the node is asked for its height beside the subscription.'),
      timeout: duration('100ms').prefault('10s').describe('For one question to a node.'),
    })
    .prefault({}),
  operators: z
    .array(
      z.strictObject({
        keyFile: z
          .string()
          .min(1)
          .describe('An encrypted key file, as `pokt-supplier keys create` makes it.'),
        passphraseFile: z
          .string()
          .min(1)
          .optional()
          .describe(
            'Else $CREDENTIALS_DIRECTORY/passphrase, POKT_SUPPLIER_PASSPHRASE, or a prompt.',
          ),
      }),
    )
    .min(1)
    .describe('Who signs relays, claims and proofs.'),
  relay: z
    .strictObject({
      listen: listen.prefault('0.0.0.0:8545').describe('Where gateways reach this supplier.'),
      bodyMax: size.prefault('20MiB').describe('Larger requests are refused unread.'),
      minedRequestMax: size
        .prefault('512KiB')
        .describe(
          'Larger requests are answered 413: a proof publishes the sampled one on the chain.',
        ),
      drain: duration('0s')
        .prefault('30s')
        .describe('How long running relays may go on at a stop.'),
    })
    .prefault({}),
  services,
  local,
  machine,
  models,
  stake: z
    .strictObject({
      amount: amount.optional().describe('The new total stake, such as 60005000000upokt.'),
      owner: address
        .optional()
        .describe('Who gets stake and rewards; by default who owns it already, or the operator.'),
      url: httpUrl.describe('The public URL of the relay port.'),
      rpcTypes: z
        .array(z.enum(RPC_TYPES))
        .min(1)
        .default([...RPC_TYPES])
        .describe('What the URL is offered for: json_rpc, rest, websocket.'),
      revShare: z
        .array(z.strictObject({ address, percent: z.int().min(1).max(100) }))
        .optional()
        .describe('Who shares the rewards; by default all to the owner. Must add up to 100.'),
    })
    .optional()
    .describe('What `pokt-supplier stake` stakes.'),
  admin: z
    .strictObject({
      listen: listen
        .prefault('127.0.0.1:8546')
        .describe('Health and status, for this machine only.'),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(LOG_LEVELS)
        .default('info')
        .describe('error, warn, info, debug, trace or silent.'),
    })
    .prefault({}),
})

/** What stands in the file. */
export type ConfigFile = z.output<typeof ConfigSchema>
/** The same with what the network gives (load.ts). */
export type Config = Omit<ConfigFile, 'chain'> & {
  chain: Omit<ConfigFile['chain'], 'rpc' | 'id' | 'gasPrice'> & {
    rpc: string[]
    id: string
    gasPrice: GasPrice
  }
}
export type RpcTypeName = (typeof RPC_TYPES)[number]
