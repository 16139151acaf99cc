/**
 * The networks that have a name, as data: what `network:` stands for wherever `chain` says nothing.
 *
 * These are beginnings and no truths. A node of another chain id is refused whatever stands here, and
 * parameters (fees, windows, stakes) always come from the chain itself. The local chain has the id of
 * the main network, as `pocketd` gives it.
 * Source: poktroll app/pocket/networks.go, docusaurus/docs/2_explore/1_tools and
 * 2_account_management/8_tx_gas_fees.md. Tested by test/config/networks.ts.
 */

export interface Network {
  readonly chainId: string
  /** CometBFT RPC endpoints that anybody may use, the preferred one first. */
  readonly rpc: readonly string[]
  /** As it stands in supplier.yaml. */
  readonly gasPrice: string
  /** Anybody can reach what is staked here, and so what only one machine reaches is a mistake. */
  readonly isPublic: boolean
  /** Pages for people. */
  readonly explorer?: string
  readonly faucet?: string
}

export const NETWORK_NAMES = ['mainnet', 'beta', 'local'] as const
export type NetworkName = (typeof NETWORK_NAMES)[number]

const GAS_PRICE = '0.000001upokt'

export const NETWORKS: Readonly<Record<NetworkName, Network>> = {
  mainnet: {
    chainId: 'pocket',
    rpc: ['https://sauron-rpc.infra.pocket.network', 'https://rpc-pocket.blockval.io'],
    gasPrice: GAS_PRICE,
    isPublic: true,
    explorer: 'https://explorer.pocket.network',
  },
  beta: {
    chainId: 'pocket-lego-testnet',
    rpc: ['https://sauron-rpc.beta.infra.pocket.network'],
    gasPrice: GAS_PRICE,
    isPublic: true,
    explorer: 'https://poktscan.beta.pocket.network',
    faucet: 'https://faucet.beta.testnet.pokt.network/pokt/',
  },
  local: {
    chainId: 'pocket',
    rpc: ['http://127.0.0.1:26657'],
    gasPrice: GAS_PRICE,
    isPublic: false,
  },
}

/** For a configuration that names none: the nodes are its own, all else is the main network's. */
export const UNNAMED: Network = { ...NETWORKS.mainnet, rpc: [] }

/** The network's entry; without a name the one with this chain id, if there is one. */
export function networkOf(name: NetworkName | undefined, chainId: string): Network | undefined {
  if (name !== undefined) return NETWORKS[name]
  return NETWORK_NAMES.map((each) => NETWORKS[each]).find((each) => each.chainId === chainId)
}
