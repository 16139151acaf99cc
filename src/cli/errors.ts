/** What a command says no to. Exit statuses: failure.ts. Tests: test/cli. */
import { SupplierError } from '../base/errors.ts'

export const CLI_ERRORS = {
  USAGE: 'The arguments do not fit together. See --help.',
  ANSWER: 'What was typed cannot be used. Nothing was written and nothing was sent; run it again.',
  DECLINED: 'You said no. Nothing was sent.',
  REFUSED: 'The chain refused. Nothing more was sent.',
  UNSETTLED:
    'Relays that were served would stay unpaid. Run pokt-supplier start --settle first; unstake --now gives them up.',
  RELAY_REFUSED: 'The supplier refused, or what it answered is not what it signed.',
  FOLDER_USED:
    'A devnet starts with a new chain, on which old keys and databases are worth nothing. Remove the folder, or name another with --data.',
  FILE: 'A file that was named cannot be read. Check its path and permissions.',
  AUDIT_INCONSISTENT:
    'What answered does not compute as these weights do. Run it again before you act on it.',
  AUDIT_UNCLEAR: 'Ask more questions, or another server that runs these weights, to compare.',
  NOT_PAID: 'No claim was settled in time. Run it again with --log-level info to see why.',
} as const

export class CliError extends SupplierError<keyof typeof CLI_ERRORS> {}
