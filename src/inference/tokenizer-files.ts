/**
 * The files behind `/pokt/tokenizer`: those of the model's author, or what the weights tell.
 *
 * Files of the author are served as they are, after their tokens and merges were compared with the
 * weights' own: a tokenizer of another model is worse than none. What is made from the weights has the
 * exact tokens, ids, merges and control tokens; how text is cut beforehand is known by the name of the
 * method, so only for the methods listed here; whether a control token swallows the space beside it is
 * not in a GGUF and is taken as no. So its hash is not that of the author's files.
 * Tested by test/inference/tokenizer-files.ts.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type GgufMetadata, numberOf, numbersOf, textOf, textsOf } from '../models/gguf.ts'
import { InferenceError } from './errors.ts'
import { isObject } from './json.ts'
import type { JsonObject } from './request.ts'

const NEEDED = 'tokenizer'
const OTHERS = ['tokenizer_config', 'special_tokens_map', 'added_tokens'] as const
const FILE_BYTES_MAX = 64 * 1024 * 1024

/** `tokenizer.ggml.token_type`. */
const NORMAL = 1
const CONTROL = 3
const USER_DEFINED = 4
const UNUSED = 5

/**
 * Files of the author by stem: `tokenizer.json`, which must be there, and those of `tokenizer_config.json`,
 * `special_tokens_map.json`, `added_tokens.json` that are.
 * @param metadata of the weights; undefined: there are none here that the files could be held against
 * @throws InferenceError MODEL_LOAD: not readable, or the first token or merge that differs
 */
export async function readTokenizerFolder(
  folder: string,
  metadata: GgufMetadata | undefined,
): Promise<JsonObject> {
  const tokenizer = await readJsonFile(folder, NEEDED)
  if (tokenizer === undefined) throw unfit(`${folder} has no ${NEEDED}.json`)
  if (metadata !== undefined) {
    checkTokens(tokenizer, metadata)
    checkMerges(tokenizer, metadata)
  }
  const files: Record<string, JsonObject> = { [NEEDED]: tokenizer }
  for (const stem of OTHERS) {
    const file = await readJsonFile(folder, stem)
    if (file !== undefined) files[stem] = file
  }
  return files
}

async function readJsonFile(folder: string, stem: string): Promise<JsonObject | undefined> {
  const path = join(folder, `${stem}.json`)
  let text: string
  try {
    const { size } = await stat(path)
    if (size > FILE_BYTES_MAX) throw unfit(`${path} is larger than ${FILE_BYTES_MAX} bytes`)
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    if (error instanceof InferenceError) throw error
    throw new InferenceError('MODEL_LOAD', `cannot read ${path}`, { cause: error })
  }
  const value = parsed(text)
  if (!isObject(value)) throw unfit(`${path} is not a JSON object`)
  return value
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function checkTokens(tokenizer: JsonObject, metadata: GgufMetadata): void {
  const theirs = tokensOf(tokenizer)
  const ours = textsOf(metadata, 'tokenizer.ggml.tokens')
  const types = numbersOf(metadata, 'tokenizer.ggml.token_type')
  const beyond = [...theirs.keys()].find((id) => !(id in ours))
  if (beyond !== undefined)
    throw unfit(`token ${beyond} ${quoted(theirs.get(beyond))} is not in the weights`)
  for (const [id, name] of ours.entries()) {
    const given = theirs.get(id)
    // Vocabularies are filled up to a round number; tokenizers don't list what fills them.
    if (given === undefined && types[id] === UNUSED) continue
    if (given !== undefined && isSame(given, name, types[id])) continue
    const there = given === undefined ? 'missing' : quoted(given)
    throw unfit(`token ${id} is ${there} in tokenizer.json and ${quoted(name)} in the weights`)
  }
}

/** Tokens that people add have plain spaces in a GGUF. */
function isSame(given: string, name: string, type: number | undefined): boolean {
  return given === name || (type === USER_DEFINED && given.replaceAll('\u2581', ' ') === name)
}

/** By id: of the model's own list, in each of its forms, and of those that were added. */
function tokensOf({ model, added_tokens: added }: JsonObject): Map<number, string> {
  const vocabulary = isObject(model) ? model['vocab'] : undefined
  const tokens = new Map<number, string>()
  if (Array.isArray(vocabulary)) {
    for (const [id, entry] of vocabulary.entries())
      if (Array.isArray(entry)) tokens.set(id, String(entry[0]))
  } else if (isObject(vocabulary)) {
    for (const [name, id] of Object.entries(vocabulary)) tokens.set(Number(id), name)
  } else throw unfit('tokenizer.json has no vocabulary')
  for (const entry of Array.isArray(added) ? added : [])
    if (isObject(entry)) tokens.set(Number(entry['id']), String(entry['content']))
  return tokens
}

function checkMerges({ model }: JsonObject, metadata: GgufMetadata): void {
  const ours = textsOf(metadata, 'tokenizer.ggml.merges')
  const theirs = isObject(model) ? model['merges'] : undefined
  if (ours.length === 0 || !Array.isArray(theirs)) return
  for (let at = 0; at < Math.max(ours.length, theirs.length); at++) {
    const entry: unknown = theirs[at]
    const given = Array.isArray(entry) ? entry.join(' ') : entry
    if (given !== ours[at])
      throw unfit(
        `merge ${at} is ${quoted(given)} in tokenizer.json and ${quoted(ours[at])} in the weights`,
      )
  }
}

function quoted(name: unknown): string {
  return name === undefined ? 'missing' : JSON.stringify(String(name).slice(0, 64))
}

function unfit(how: string): InferenceError {
  return new InferenceError(
    'MODEL_LOAD',
    `the files of the tokenizer do not go with the weights: ${how}`,
  )
}

interface Method {
  readonly normalizer: JsonObject | null
  readonly cut: JsonObject
  /** A piece that is a token is not looked at any further. */
  readonly ignoreMerges: boolean
  /** Where the weights don't say. */
  readonly addBos: boolean
}

const BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

/** Cut by a pattern of their own, with digits in groups of up to `digits`. */
function split(digits: string): JsonObject {
  const pattern = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  return {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
      { ...BYTES, use_regex: false },
    ],
  }
}

const GPT2: Method = {
  normalizer: null,
  cut: { ...BYTES, use_regex: true },
  ignoreMerges: false,
  addBos: false,
}
const LONE_DIGITS: Method = {
  ...GPT2,
  cut: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Digits', individual_digits: true },
      { ...BYTES, use_regex: true },
    ],
  },
}

/** By `tokenizer.ggml.pre`. Source: the tokenizer.json files of the models that the names stand for. */
const METHODS: ReadonlyMap<string, Method> = new Map([
  ['gpt-2', GPT2],
  ['llama-bpe', { ...GPT2, cut: split('\\p{N}{1,3}'), ignoreMerges: true, addBos: true }],
  ['qwen2', { ...GPT2, normalizer: { type: 'NFC' }, cut: split('\\p{N}') }],
  ['smollm', LONE_DIGITS],
  ['starcoder', LONE_DIGITS],
])

/** Files made from the weights; undefined where the way they cut text is not known here. */
export function tokenizerOfWeights(metadata: GgufMetadata): JsonObject | undefined {
  const method = METHODS.get(textOf(metadata, 'tokenizer.ggml.pre') ?? '')
  if (method === undefined || textOf(metadata, 'tokenizer.ggml.model') !== 'gpt2') return undefined
  const names = textsOf(metadata, 'tokenizer.ggml.tokens')
  const types = numbersOf(metadata, 'tokenizer.ggml.token_type')
  const special = (key: string) => {
    const id = numberOf(metadata, `tokenizer.ggml.${key}_token_id`)
    return id === undefined ? undefined : names[id]
  }
  const [bos, eos, pad] = [special('bos'), special('eos'), special('padding')]
  const roles = {
    ...(bos === undefined ? {} : { bos_token: bos }),
    ...(eos === undefined ? {} : { eos_token: eos }),
    ...(pad === undefined ? {} : { pad_token: pad }),
  }
  const template = textOf(metadata, 'tokenizer.chat_template')
  const addBos = metadata.get('tokenizer.ggml.add_bos_token') ?? method.addBos
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: names.flatMap((content, id) => addedToken(content, id, types[id])),
      normalizer: method.normalizer,
      pre_tokenizer: method.cut,
      post_processor:
        addBos === true && bos !== undefined ? beginning(bos, names.indexOf(bos)) : null,
      decoder: { ...BYTES, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: method.ignoreMerges,
        vocab: Object.fromEntries(
          names.flatMap((name, id) => (types[id] === NORMAL ? [[name, id]] : [])),
        ),
        merges: textsOf(metadata, 'tokenizer.ggml.merges'),
      },
    },
    tokenizer_config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...roles,
      ...(template === undefined ? {} : { chat_template: template }),
    },
    special_tokens_map: roles,
  }
}

function addedToken(content: string, id: number, type: number | undefined): JsonObject[] {
  if (type !== CONTROL && type !== USER_DEFINED) return []
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false }
  return [{ id, content, ...flags, special: type === CONTROL }]
}

/** Every text begins with `bos`. */
function beginning(bos: string, id: number): JsonObject {
  const first = { SpecialToken: { id: bos, type_id: 0 } }
  const [a, b] = ['A', 'B'].map((name, at) => ({ Sequence: { id: name, type_id: at } }))
  return {
    type: 'TemplateProcessing',
    single: [first, a],
    pair: [first, a, { SpecialToken: { id: bos, type_id: 1 } }, b],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  }
}
