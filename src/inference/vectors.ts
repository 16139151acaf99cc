/** Vectors of embeddings. Tested by test/inference/llamacpp/held.ts and test/contract/backend.ts. */

/** Of length 1; nothing but zeros stays as it is. */
export function unit(vector: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const out = Float32Array.from(vector)
  const length = Math.hypot(...out)
  return length === 0 ? out : out.map((value) => value / length)
}

/** The first numbers of a vector, of length 1 again. */
export function shortened(vector: Float32Array, dimensions: number | undefined): Float32Array {
  if (dimensions === undefined || dimensions >= vector.length) return vector
  return unit(vector.subarray(0, dimensions))
}
