import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'
import t, { type Test } from 'tap'
import { tinyModelPath } from '../../src/config/root.ts'
import { isObject } from '../../src/inference/json.ts'
import type { JsonObject } from '../../src/inference/request.ts'
import { readTokenizerFolder, tokenizerOfWeights } from '../../src/inference/tokenizer-files.ts'
import {
  type GgufMetadata,
  numberOf,
  parseGguf,
  readGguf,
  textOf,
  textsOf,
} from '../../src/models/gguf.ts'
import { bpeMeta, byteLetters, ggufBytes, type Meta } from '../support/gguf.ts'

const { signal } = new AbortController()
const METHODS = ['gpt-2', 'llama-bpe', 'qwen2', 'smollm', 'starcoder']

function metaOf(meta: Meta): GgufMetadata {
  const metadata = parseGguf(ggufBytes(meta))
  if (metadata === undefined) throw new Error('the file ends in its head')
  return metadata
}

t.test('the head of a GGUF file', async (t) => {
  await t.test('is read to its end', async (t) => {
    const tiny = await readGguf(tinyModelPath(), signal)
    t.equal(textOf(tiny, 'general.architecture'), 'llama')
    t.equal(numberOf(tiny, 'llama.context_length'), 256)
    t.equal(textsOf(tiny, 'tokenizer.ggml.tokens').length, 640)
    t.equal(tiny.get('tokenizer.ggml.add_eos_token'), false)
    t.strictSame(textsOf(tiny, 'tokenizer.ggml.merges'), [], 'a list that is not there is empty')
    t.equal(numberOf(tiny, 'general.name'), undefined, 'a text is no number')
  })

  await t.test('of any length', async (t) => {
    const words = Array.from({ length: 60_000 }, (_, at) => `a rather long word of number ${at}`)
    const path = join(t.testdir(), 'long.gguf')
    await writeFile(path, ggufBytes({ words, last: 0.5 }))
    const metadata = await readGguf(path, signal)
    t.strictSame(textsOf(metadata, 'words'), words)
    t.equal(metadata.get('last'), 0.5)
  })

  await t.test('that is broken is refused', async (t) => {
    const whole = ggufBytes(bpeMeta('gpt-2'))
    for (const length of [0, 3, 4, 12, 100, whole.length - 1])
      t.equal(parseGguf(whole.subarray(0, length)), undefined, `it ends after ${length} bytes`)
    const folder = t.testdir({ 'no.gguf': 'NOPE and more', 'short.gguf': whole.subarray(0, 99) })
    const broken = (how: RegExp) => ({ code: 'MODEL_LOAD', message: how })
    await t.rejects(readGguf(join(folder, 'no.gguf'), signal), broken(/not begin with GGUF/))
    await t.rejects(readGguf(join(folder, 'short.gguf'), signal), broken(/ends within its head/))
    await t.rejects(readGguf(join(folder, 'none.gguf'), signal), broken(/none\.gguf/))
    const spoilt = (at: number, value: number) => {
      const bytes = Buffer.from(whole)
      bytes.writeUInt32LE(value, at)
      return () => parseGguf(bytes)
    }
    t.throws(spoilt(4, 9), broken(/version is 9/))
    t.throws(spoilt(20, 1), broken(/beyond all measure/))
    t.throws(spoilt(16, 70_000), broken(/too many keys/))
    const abort = new Error('gone')
    await t.rejects(readGguf(tinyModelPath(), AbortSignal.abort(abort)), abort)
  })
})

const meta = bpeMeta('gpt-2')
const author = () =>
  structuredClone(tokenizerOfWeights(metaOf(meta))?.['tokenizer']) as {
    model: { vocab: Record<string, number>; merges: unknown[] }
    added_tokens: { id: number; content: string }[]
  }
const folderOf = (t: Test, tokenizer: unknown, more: Record<string, string> = {}) =>
  t.testdir({ 'tokenizer.json': JSON.stringify(tokenizer), ...more })

t.test('files of the author', async (t) => {
  await t.test('are served as they are', async (t) => {
    const tokenizer = author()
    const folder = folderOf(t, tokenizer, {
      'tokenizer_config.json': '{"bos_token":"<|end|>"}',
      'README.md': 'not a part of it',
      'vocab.json': '{}',
    })
    t.strictSame(await readTokenizerFolder(folder, metaOf(meta)), {
      tokenizer,
      tokenizer_config: { bos_token: '<|end|>' },
    })
    tokenizer.model.merges = tokenizer.model.merges.map((merge) => String(merge).split(' '))
    await t.resolves(readTokenizerFolder(folderOf(t, tokenizer), metaOf(meta)), 'merges as pairs')
  })

  await t.test(
    'that are not those of the weights are refused by the first difference',
    async (t) => {
      const cases: [name: string, change: (of: ReturnType<typeof author>) => void, how: RegExp][] =
        [
          [
            'another token',
            ({ model }) => {
              delete model.vocab['the']
              model.vocab['teh'] = 257
            },
            /token 257 is "teh" in tokenizer\.json and "the" in the weights/,
          ],
          ['a missing one', ({ model }) => delete model.vocab['th'], /token 256 is missing in/],
          [
            'one too many',
            ({ model }) => {
              model.vocab['more'] = 999
            },
            /token 999 "more" is not in the weights/,
          ],
          [
            'another control token',
            ({ added_tokens: [end] }) => Object.assign(end ?? {}, { content: '</s>' }),
            /token 275 is "<\/s>" in tokenizer\.json and "<\|end\|>"/,
          ],
          [
            'another merge',
            ({ model }) => {
              model.merges[3] = 'n i'
            },
            /merge 3 is "n i" in tokenizer\.json and "i n" in the weights/,
          ],
          ['a merge less', ({ model }) => model.merges.pop(), /merge 17 is missing in/],
        ]
      for (const [name, change, message] of cases) {
        const tokenizer = author()
        change(tokenizer)
        const read = readTokenizerFolder(folderOf(t, tokenizer), metaOf(meta))
        await t.rejects(read, { code: 'MODEL_LOAD', message }, name)
      }
    },
  )

  await t.test('that are no files of a tokenizer are refused', async (t) => {
    const read = (files: Record<string, string>) =>
      readTokenizerFolder(t.testdir(files), metaOf(meta))
    await t.rejects(read({}), { code: 'MODEL_LOAD', message: /has no tokenizer\.json/ })
    await t.rejects(read({ 'tokenizer.json': '{' }), { message: /not a JSON object/ })
    await t.rejects(read({ 'tokenizer.json': '{}' }), { message: /has no vocabulary/ })
    const bad = { 'tokenizer.json': JSON.stringify(author()), 'added_tokens.json': '[]' }
    await t.rejects(read(bad), { message: /added_tokens\.json is not a JSON object/ })
  })

  await t.test('in the form of SentencePiece, with spaces as weights have them', async (t) => {
    const spm = metaOf({
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': ['<unk>', '<0x0A>', '\u2581the', 'two words'],
      'tokenizer.ggml.token_type': [2, 6, 1, 4],
    })
    const plain = metaOf({
      'tokenizer.ggml.tokens': ['<unk>', '<0x0A>', ' the', 'two words'],
      'tokenizer.ggml.token_type': [2, 6, 1, 4],
    })
    const vocab = [
      ['<unk>', 0],
      ['<0x0A>', 0],
      ['\u2581the', -1],
    ]
    const added = [{ id: 3, content: 'two\u2581words' }]
    const files = { model: { type: 'Unigram', vocab }, added_tokens: added }
    await t.resolves(readTokenizerFolder(folderOf(t, files), spm))
    const other = {
      ...files,
      model: { ...files.model, vocab: [...vocab.slice(0, 2), [' the', -1]] },
    }
    await t.rejects(readTokenizerFolder(folderOf(t, other), spm), {
      message: /token 2 is " the" in tokenizer\.json and "\u2581the" in the weights/,
    })
    await t.rejects(readTokenizerFolder(folderOf(t, files), plain), { message: /token 2 is/ })
    const swapped = {
      ...files,
      added_tokens: [
        { id: 2, content: '\u2581the' },
        { id: 3, content: 'two' },
      ],
    }
    await t.rejects(readTokenizerFolder(folderOf(t, swapped), spm), { message: /token 3 is "two"/ })
  })
})

function made(meta: Meta) {
  return tokenizerOfWeights(metaOf(meta)) as Record<'tokenizer' | 'tokenizer_config', JsonObject>
}

t.test('files made from the weights', async (t) => {
  await t.test('have every token in its place', async (t) => {
    const { tokenizer, tokenizer_config: config } = made(meta)
    const { model } = author()
    t.equal(Object.keys(model.vocab).length, 275)
    t.strictSame(model.merges, meta['tokenizer.ggml.merges'])
    t.match(tokenizer['added_tokens'], [
      { id: 275, content: '<|end|>', special: true },
      { id: 276, content: 'added one', special: false },
    ])
    t.equal(Object(tokenizer['added_tokens']).length, 2, 'what fills up is left out')
    t.strictSame(config, {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: '<|end|>',
      eos_token: '<|end|>',
      chat_template: '{{ messages }}',
    })
  })

  await t.test('bring letters into one form where the author does', async (t) => {
    t.strictSame(made(bpeMeta('qwen2')).tokenizer['normalizer'], { type: 'NFC' })
    t.equal(made(bpeMeta('llama-bpe')).tokenizer['normalizer'], null)
  })

  await t.test('begin with the first token where the weights say so', async (t) => {
    const processor = (pre: string, more: Meta = {}) =>
      made(bpeMeta(pre, more)).tokenizer['post_processor']
    t.equal(processor('gpt-2'), null)
    t.match(processor('llama-bpe'), { single: [{ SpecialToken: { id: '<|end|>' } }, {}] })
    t.equal(processor('llama-bpe', { 'tokenizer.ggml.add_bos_token': false }), null)
    t.match(processor('qwen2', { 'tokenizer.ggml.add_bos_token': true }), {
      special_tokens: { '<|end|>': { ids: [275] } },
    })
  })

  await t.test('are not made where the way of cutting is unknown', async (t) => {
    t.equal(tokenizerOfWeights(metaOf(bpeMeta('a-new-one'))), undefined)
    t.equal(tokenizerOfWeights(await readGguf(tinyModelPath(), signal)), undefined)
  })

  await t.test('cut texts as the engine does', async (t) => {
    const llama = await getLlama({
      gpu: false,
      build: 'never',
      skipDownload: true,
      logLevel: LlamaLogLevel.disabled,
      maxThreads: 1,
    })
    t.teardown(() => llama.dispose())
    const folder = t.testdir()
    const texts = [
      "the world in the 12345 world's end",
      "Hello,  the\n\n  world!\t It's über 1234567 fine…",
      '  the  world ',
      'a\r\n\r\nb 日本語 the👍',
      'the zzz zz',
    ]
    for (const method of METHODS) {
      const path = join(folder, `${method}.gguf`)
      await writeFile(path, ggufBytes(bpeMeta(method)))
      const files = tokenizerOfWeights(await readGguf(path, signal))
      await using model = await llama.loadModel({ modelPath: path, vocabOnly: true })
      for (const text of texts)
        t.strictSame(
          encode(files?.['tokenizer'] as JsonObject, text),
          [...model.tokenize(text, false)],
          `${method}: ${JSON.stringify(text)}`,
        )
    }
  })
})

const GPT2 = "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/** Byte-pair encoding by a `tokenizer.json`, as far as those in here need it. */
function encode(tokenizer: JsonObject, text: string): number[] {
  const letters = byteLetters()
  const {
    vocab,
    merges,
    ignore_merges: ignoresMerges,
  } = tokenizer['model'] as {
    vocab: Record<string, number>
    merges: string[]
    ignore_merges: boolean
  }
  const { normalizer, pre_tokenizer: cut } = tokenizer
  const steps = isObject(cut) && cut['type'] === 'Sequence' ? cut['pretokenizers'] : [cut]
  let pieces = [isObject(normalizer) ? text.normalize('NFC') : text]
  for (const step of steps as JsonObject[]) {
    const { Regex: own } = (step['pattern'] ?? {}) as { Regex?: string }
    const pattern =
      step['type'] === 'Digits'
        ? '\\p{N}|[^\\p{N}]+'
        : (own?.replace('(?i:', '(?:') ?? (step['use_regex'] === true ? GPT2 : '[^]+'))
    pieces = pieces.flatMap((piece) => piece.match(new RegExp(pattern, 'gu')) ?? [])
  }
  return pieces.flatMap((piece) => {
    let parts = [...Buffer.from(piece)].map((byte) => letters[byte] ?? '')
    const whole = vocab[parts.join('')]
    if (ignoresMerges && whole !== undefined) return [whole]
    for (;;) {
      const ranks = parts.slice(1).map((part, at) => merges.indexOf(`${parts[at]} ${part}`))
      const best = Math.min(...ranks.filter((rank) => rank !== -1))
      const at = ranks.indexOf(best)
      if (at === -1) return parts.map((part) => vocab[part] ?? -1)
      parts = [...parts.slice(0, at), `${parts[at]}${parts[at + 1]}`, ...parts.slice(at + 2)]
    }
  })
}
