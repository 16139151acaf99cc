/**
 * What to do about an error: every floor's table, found by the class of the error. Codes alone would
 * not do: NOT_FOUND of the chain is not NOT_FOUND of an engine. Tests: test/cli/advice.ts.
 */
import { BASE_ERRORS, type SupplierError } from '../base/errors.ts'
import { CHAIN_ERRORS } from '../chain/errors.ts'
import { CONFIG_ERRORS } from '../config/load.ts'
import { CRYPTO_ERRORS } from '../crypto/errors.ts'
import { DEVNET_ERRORS } from '../devnet/errors.ts'
import { GATEWAY_ERRORS } from '../devnet/gateway.ts'
import { GPU_ERRORS } from '../gpu/errors.ts'
import { INFERENCE_ERRORS } from '../inference/errors.ts'
import { LOCAL_ERRORS } from '../inference/local-access.ts'
import { KEY_ERRORS } from '../keys/errors.ts'
import { MINER_ERRORS } from '../miner/errors.ts'
import { MODEL_ERRORS } from '../models/errors.ts'
import { NODE_ERRORS } from '../node/errors.ts'
import { OPS_ERRORS } from '../ops/admin.ts'
import { PROTOCOL_ERRORS } from '../protocol/errors.ts'
import { RELAY_ERRORS } from '../relay/errors.ts'
import { SMST_ERRORS } from '../smst/errors.ts'
import { STORE_ERRORS } from '../store/errors.ts'
import { CLI_ERRORS } from './errors.ts'

const TABLES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  BaseError: BASE_ERRORS,
  ChainError: CHAIN_ERRORS,
  CliError: CLI_ERRORS,
  ConfigError: CONFIG_ERRORS,
  CryptoError: CRYPTO_ERRORS,
  DevnetError: DEVNET_ERRORS,
  GatewayError: GATEWAY_ERRORS,
  GpuError: GPU_ERRORS,
  InferenceError: INFERENCE_ERRORS,
  KeyError: KEY_ERRORS,
  LocalError: LOCAL_ERRORS,
  MinerError: MINER_ERRORS,
  ModelError: MODEL_ERRORS,
  NodeError: NODE_ERRORS,
  OpsError: OPS_ERRORS,
  ProtocolError: PROTOCOL_ERRORS,
  RelayError: RELAY_ERRORS,
  SmstError: SMST_ERRORS,
  StoreError: STORE_ERRORS,
}

/** What to do about it; undefined for a code that stands in no table. */
export function adviceFor({ name, code }: SupplierError): string | undefined {
  return TABLES[name]?.[code]
}
