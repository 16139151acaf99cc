/** What to do about an error code: every floor's table in one. `status` and errors print from it. */
import { BASE_ERRORS } from '../base/errors.ts'
import { CHAIN_ERRORS } from '../chain/errors.ts'
import { CONFIG_ERRORS } from '../config/load.ts'
import { CRYPTO_ERRORS } from '../crypto/errors.ts'
import { DEVNET_ERRORS } from '../devnet/errors.ts'
import { GATEWAY_ERRORS } from '../devnet/gateway.ts'
import { INFERENCE_ERRORS } from '../inference/errors.ts'
import { KEY_ERRORS } from '../keys/errors.ts'
import { MINER_ERRORS } from '../miner/errors.ts'
import { NODE_ERRORS } from '../node/supplier.ts'
import { OPS_ERRORS } from '../ops/admin.ts'
import { PROTOCOL_ERRORS } from '../protocol/errors.ts'
import { RELAY_ERRORS } from '../relay/errors.ts'
import { SMST_ERRORS } from '../smst/errors.ts'
import { STORE_ERRORS } from '../store/errors.ts'
import { CLI_ERRORS } from './context.ts'

/** Lower floors first: a command's own words win over those of a floor below. */
const ADVICE: Readonly<Record<string, string>> = {
  ...BASE_ERRORS,
  ...CRYPTO_ERRORS,
  ...PROTOCOL_ERRORS,
  ...SMST_ERRORS,
  ...KEY_ERRORS,
  ...STORE_ERRORS,
  ...CHAIN_ERRORS,
  ...MINER_ERRORS,
  ...INFERENCE_ERRORS,
  ...RELAY_ERRORS,
  ...CONFIG_ERRORS,
  ...OPS_ERRORS,
  ...NODE_ERRORS,
  ...DEVNET_ERRORS,
  ...GATEWAY_ERRORS,
  ...CLI_ERRORS,
}

export function adviceFor(code: string): string | undefined {
  return ADVICE[code]
}
