/** What can be wrong with bytes, addresses, headers and parameters that come from outside. */
import { SupplierError } from '../base/errors.ts'

export const PROTOCOL_ERRORS = {
  ADDRESS: 'A text is not an account address of this network. Addresses start with pokt1.',
  WIRE: 'Bytes are not the message that they should be: cut, altered or of another kind.',
  HEADER: 'A session header is malformed. Whoever sent it is at fault.',
  REQUEST_INVALID:
    'A relay request lacks something that every request has. The gateway is at fault.',
  RESPONSE_INVALID: 'A relay response lacks something that every response has.',
  PARAMS: 'The network parameters make no sense, for example a session of no blocks.',
  REWARD: 'An amount cannot be computed from these parameters; the chain would refuse them too.',
} as const

export class ProtocolError extends SupplierError<keyof typeof PROTOCOL_ERRORS> {}
