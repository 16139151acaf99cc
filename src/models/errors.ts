/** What can go wrong with weights on their way to this disk, and on it. */
import { type ErrorDetails, SupplierError } from '../base/errors.ts'

export const MODEL_ERRORS = {
  MODEL_LOAD: 'The weights cannot be read. Check the file, or run: pokt-supplier models verify.',
  CATALOG:
    'Correct the file that is named, at the place that is named, or take it out of its folder.',
  MODEL_NAME:
    'Names are lower-case letters, digits, dots, dashes and underscores. Give one: --name.',
  MODEL_ABSENT: 'See what is here with: pokt-supplier models list.',
  MODEL_DAMAGED: 'Fetch it again: pokt-supplier models remove NAME, then models add.',
  SOURCE_NAME:
    'Write hf:OWNER/REPO/FILE.gguf, hf:OWNER/REPO:Q4_K_M, ollama:NAME:TAG, https://…/x.gguf, ipfs:CID, or the path of a file.',
  SOURCE_ABSENT: 'The source has no such file. Check how it is written there.',
  SOURCE_REFUSED:
    "The source wants to know who asks. Accept the licence on the model's page, and name a file that holds your token: --token-file.",
  SOURCE_UNREACHABLE: 'Run it again later: what is here already is kept.',
  SOURCE_UNSAFE: 'The source asks for something that is not done. Use another source.',
  DIGEST_UNKNOWN:
    'Nobody says what the file must be. Give its digest with --sha256, or take what comes with --unverified.',
  DIGEST_CHANGED:
    'The source has another file than the one that was pinned. If you want that one, add --update.',
  DOWNLOAD_BROKEN: 'What came is not the file that was asked for, and nothing of it is used.',
  DISK_FULL: 'Make room and run it again: what is here already is kept.',
  LIBRARY_BROKEN: 'Correct the file, or remove it and add the models again: blobs are found anew.',
} as const

export type ModelErrorCode = keyof typeof MODEL_ERRORS

export class ModelError extends SupplierError<ModelErrorCode> {}

/** Something that another try may cure. */
export function passing(
  code: ModelErrorCode,
  message: string,
  details: Omit<ErrorDetails, 'retryable'> = {},
): ModelError {
  return new ModelError(code, message, { ...details, retryable: true })
}
