/** What a schema says of one place in a file, as a line for whoever wrote it. Tested by test/config/load.ts. */

/** As zod tells it. */
export interface Issue {
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly code?: string
  readonly keys?: readonly string[]
}

/** @param advice what to do about a key that is not known */
export function issueText({ path, message, code, keys = [] }: Issue, advice: string): string {
  const at = path.map(String).join('.')
  if (code !== 'unrecognized_keys') return `${at === '' ? 'the file' : at}: ${message}`
  const names = keys.map((key) => (at === '' ? key : `${at}.${key}`))
  return `${names.join(', ')}: there is no such setting; ${advice}`
}
