/**
 * The catalogue of this program with the owner's own files beside it, and its models as candidates for a
 * machine: what a file of the catalogue does not say of a size is estimated, and a plan made so says that.
 *
 * Bits of a quantisation are those of the table in llama.cpp's tools/quantize/README.md (8B). Tested by
 * test/node/catalogue.ts.
 */
import { join } from 'node:path'
import { packageRoot } from '../config/root.ts'
import { type Catalog, type CatalogModel, loadCatalog } from '../models/catalog.ts'
import type { CatalogVariant } from '../models/catalog-schema.ts'
import type { Candidate, RoughSize } from '../models/recommend.ts'
import type { ModelShape } from '../models/shape.ts'
import type { MeasuredSpeed } from '../models/speed.ts'

/** @param extra the folder of the owner's own files. @throws ModelError CATALOG */
export function readCatalogue(extra: string | undefined): Promise<Catalog> {
  return loadCatalog(join(packageRoot(), 'models'), { extra })
}

/** What is known of a variant beside the catalogue. */
export interface Known {
  /** Read from its files, which are here. */
  readonly shape?: ModelShape
  readonly measured?: MeasuredSpeed
}

/** @param known of a variant; most are not here */
export function candidateOf(
  model: CatalogModel,
  known: (variant: CatalogVariant) => Known = () => ({}),
): Candidate {
  return {
    name: model.name,
    variants: model.variants.map((variant) => {
      const { shape, measured } = known(variant)
      return {
        name: variant.quantisation,
        size: shape ?? roughSize(model, variant),
        ...(measured === undefined ? {} : { measured }),
      }
    }),
  }
}

/** Bits of a weight; the first that a name begins with is taken. */
const BITS: readonly (readonly [beginning: string, bits: number])[] = [
  ['IQ1', 2.0],
  ['IQ2', 2.6],
  ['Q2_K', 3.16],
  ['IQ3', 3.5],
  ['Q3_K_S', 3.64],
  ['Q3_K_L', 4.3],
  ['Q3_K', 4.0],
  ['IQ4', 4.6],
  ['Q4_0', 4.66],
  ['Q4_K_S', 4.67],
  ['Q4_K', 4.89],
  ['Q4', 5.1],
  ['MXFP4', 4.65],
  ['NVFP4', 4.8],
  ['Q5_K_S', 5.57],
  ['Q5', 5.7],
  ['Q6', 6.56],
  ['Q8', 8.5],
  ['BF16', 16],
  ['F16', 16],
  ['F32', 32],
]
/** Of a name that says nothing, such as one of the author's own making. */
const BITS_GUESS = 5
/** What most models have in a layer: 8 heads of 128 numbers, each with a key and a value of two bytes. */
const LAYER_KV_BYTES = 8 * 128 * 2 * 2
const LAYERS_LEAST = 16

export function roughBytes(parameters: number, quantisation: string): number {
  const name = quantisation.replace(/^UD-/, '')
  const bits = BITS.find(([beginning]) => name.startsWith(beginning))?.[1] ?? BITS_GUESS
  return Math.round((parameters * bits) / 8)
}

function roughSize(model: CatalogModel, { bytes, quantisation }: CatalogVariant): RoughSize {
  const { parameters, active, kvHeads, headLength, context } = model
  const layers = model.layers ?? roughLayers(parameters)
  const kept = model.cacheLayers ?? layers
  const each =
    kvHeads === undefined || headLength === undefined ? LAYER_KV_BYTES : kvHeads * headLength * 4
  return {
    bytes: bytes ?? roughBytes(parameters, quantisation),
    parameters,
    ...(active === undefined ? {} : { parametersActive: active }),
    layers,
    kvBytesPerToken: kept * each,
    contextTrained: context,
  }
}

/** Grows with the cube root: 40 for 8 thousand million weights, 80 for 70. */
function roughLayers(parameters: number): number {
  return Math.max(LAYERS_LEAST, Math.round(20 * Math.cbrt(parameters / 1e9)))
}
