/** Bodies on their way to a supplier and back. Tests: test/devnet/gateway.ts. */

/** Undefined when there is more than `most`. */
export async function bounded(
  stream: AsyncIterable<Uint8Array>,
  most: number,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.length
    if (size > most) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

/** The whole body, as its length says; whoever sends it is gone when it is asked for more. */
export async function* thenGone(bytes: Uint8Array, leave: () => void) {
  yield bytes
  leave()
}
