/** What the official client must get from any engine behind the owner's port. */
import OpenAI from 'openai'
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import type { Test } from 'tap'
import { z } from 'zod'

export interface SdkWorld {
  readonly client: OpenAI
  /** What the engine says to this question without chance, and that it then ends. */
  readonly question: string
  readonly answer: string
}

export function sdkClient(url: string, apiKey = 'none'): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 20_000 })
}

/** Any name does. */
export const MODEL = 'any'
const user = (content: string) => [{ role: 'user' as const, content }]

/** What it is refused with. */
export async function refused(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

const utf8 = (bytes: readonly number[]) => Buffer.from(bytes).toString()

const Forecast = z.object({ sky: z.enum(['clear', 'rain']), isWarm: z.boolean() })
const SHAPES: Readonly<Record<string, z.ZodType>> = {
  look_up: z.strictObject({ city: z.enum(['Rome', 'Oslo']) }),
  add: z.strictObject({ ok: z.boolean() }),
}
const TOOLS = Object.entries(SHAPES).map(([name, parameters]) => zodFunction({ name, parameters }))

async function chats(t: Test, { client, question, answer }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question), temperature: 0 }
  const whole = await client.chat.completions.create(body)
  t.equal(whole.choices[0]?.message.content, answer)
  t.equal(whole.choices[0]?.finish_reason, 'stop')
  t.match(whole._request_id, /^req_/)
  const { prompt_tokens: prompt, completion_tokens: made, total_tokens } = whole.usage ?? {}
  t.equal((prompt ?? 0) + (made ?? 0), total_tokens)

  const chunks: OpenAI.ChatCompletionChunk[] = []
  const options = { stream: true, stream_options: { include_usage: true } } as const
  for await (const chunk of await client.chat.completions.create({ ...body, ...options }))
    chunks.push(chunk)
  t.strictSame(chunks[0]?.choices[0]?.delta, { role: 'assistant', content: '' })
  t.equal(chunks.map(({ choices: [one] }) => one?.delta.content ?? '').join(''), answer)
  t.strictSame(new Set(chunks.slice(0, -1).map(({ usage }) => usage)), new Set([null]))
  t.hasStrict(chunks.at(-1), {
    choices: [],
    usage: { prompt_tokens: prompt, completion_tokens: made },
  })
  t.equal(new Set(chunks.map(({ id }) => id)).size, 1)

  const plain: OpenAI.ChatCompletionChunk[] = []
  for await (const chunk of client.chat.completions.stream(body)) plain.push(chunk)
  t.notOk(
    plain.some((chunk) => 'usage' in chunk),
    'nobody asked for usage',
  )

  const scored = await client.chat.completions.create({ ...body, logprobs: true, top_logprobs: 2 })
  const scores = scored.choices[0]?.logprobs?.content ?? []
  t.match(scores.map(({ bytes }) => utf8(bytes ?? [])).join(''), answer.slice(0, 5))
  t.ok(scores.every(({ logprob, top_logprobs: top }) => logprob <= 0 && top.length === 2))
}

/** Of a model that may cut characters in halves. */
async function characters(t: Test, { client }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user('one 😀 two'), temperature: 0, logprobs: true }
  let text = ''
  const bytes: number[] = []
  const chunks = await client.chat.completions.create({ ...body, stream: true, max_tokens: 20 })
  for await (const { choices } of chunks) {
    text += choices[0]?.delta.content ?? ''
    for (const score of choices[0]?.logprobs?.content ?? []) bytes.push(...(score.bytes ?? []))
  }
  t.notMatch(text, /\ufffd/)
  t.equal(utf8(bytes), text)
  const whole = await client.chat.completions.create({ ...body, max_tokens: 20 })
  t.equal(whole.choices[0]?.message.content, text)
}

async function choices(t: Test, { client, question, answer }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question), temperature: 0, n: 3 }
  const one = await client.chat.completions.create({ ...body, n: 1 })
  const three = await client.chat.completions.create(body)
  t.strictSame(
    three.choices.map(({ index, message }) => [index, message.content]),
    [0, 1, 2].map((index) => [index, answer]),
  )
  t.equal(three.usage?.completion_tokens, 3 * (one.usage?.completion_tokens ?? 0))
  t.equal(three.usage?.prompt_tokens, one.usage?.prompt_tokens)
  const streamed = await client.chat.completions.stream(body).finalChatCompletion()
  t.strictSame(
    streamed.choices.map(({ index, message }) => [index, message.content]),
    [0, 1, 2].map((index) => [index, answer]),
  )
}

async function tools(t: Test, { client, question, answer }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question), temperature: 0, tools: TOOLS }
  const none = await client.chat.completions.create({ ...body, tool_choice: 'none' })
  t.equal(none.choices[0]?.message.content, answer)
  t.notOk('tool_calls' in (none.choices[0]?.message ?? {}))
  const named = { type: 'function', function: { name: 'add' } } as const
  for (const [tool_choice, temperature] of [['required', 0] as const, [named, 1.5] as const]) {
    const asked = { ...body, tool_choice, temperature, seed: 5, parallel_tool_calls: false }
    const whole = await client.chat.completions.parse(asked)
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion()
    for (const { choices } of [whole, streamed]) {
      const [made, ...more] = choices[0]?.message.tool_calls ?? []
      t.strictSame([choices[0]?.finish_reason, more], ['tool_calls', []])
      t.match(made?.id, /^call_/)
      const { name, arguments: text = '' } = made?.function ?? {}
      if (tool_choice === named) t.equal(name, 'add')
      t.ok(SHAPES[name ?? '']?.safeParse(JSON.parse(text)).success, `the schema is kept: ${text}`)
    }
    const [told] = whole.choices[0]?.message.tool_calls ?? []
    t.ok(told?.function.parsed_arguments, 'the client reads them itself')
    t.equal(streamed.choices[0]?.message.tool_calls?.[0]?.function.name, told?.function.name)
  }
  const call = {
    id: 'call_1',
    type: 'function',
    function: { name: 'add', arguments: '{"ok":true}' },
  } as const
  const told = await client.chat.completions.create({
    ...body,
    messages: [
      ...body.messages,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: 'done' },
    ],
  })
  t.equal(told.object, 'chat.completion', 'a result is taken')
}

async function schemas(t: Test, { client, question }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question), temperature: 0 }
  const response_format = zodResponseFormat(Forecast, 'forecast')
  const parsed = await client.chat.completions.parse({ ...body, response_format })
  t.ok(Forecast.safeParse(parsed.choices[0]?.message.parsed).success)
  const stream = client.chat.completions.stream({ ...body, response_format })
  t.strictSame(
    (await stream.finalChatCompletion()).choices[0]?.message.parsed,
    parsed.choices[0]?.message.parsed,
  )
  const made = await client.responses.parse({
    model: MODEL,
    input: question,
    temperature: 0,
    text: { format: zodTextFormat(Forecast, 'forecast') },
  })
  t.ok(Forecast.safeParse(made.output_parsed).success)
}

async function completions(t: Test, { client }: SdkWorld): Promise<void> {
  const body = { model: MODEL, prompt: 'What is the', max_tokens: 4, temperature: 0, seed: 0 }
  const plain = await client.completions.create(body)
  const echoed = await client.completions.create({ ...body, echo: true, logprobs: 1 })
  const [one] = echoed.choices
  t.equal(one?.text, body.prompt + (plain.choices[0]?.text ?? ''))
  const {
    tokens = [],
    token_logprobs: scores = [],
    text_offset: offsets = [],
  } = one?.logprobs ?? {}
  t.equal(tokens.join(''), one?.text)
  t.strictSame([scores[0], offsets[0]], [null, 0])
  t.ok(scores.slice(1).every((score) => score !== null && score <= 0))
  t.ok(offsets.every((offset, at) => one?.text.startsWith(tokens[at] ?? ' ', offset)))
  const given = await client.completions.create({ ...body, logprobs: 0 })
  const made = given.choices[0]?.logprobs?.token_logprobs ?? []
  const again = scores.slice(-made.length)
  t.ok(made.length > 0 && made.every((score, at) => Math.abs(score - (again[at] ?? 1)) < 1e-4))
  const none = await client.completions.create({ ...body, echo: true, logprobs: 1, max_tokens: 0 })
  t.strictSame([none.choices[0]?.text, none.usage?.completion_tokens], [body.prompt, 0])
  const pieces: string[] = []
  for await (const { choices } of await client.completions.create({ ...body, stream: true }))
    pieces.push(choices[0]?.text ?? '')
  t.equal(pieces.join(''), plain.choices[0]?.text)
  const lists = await client.completions.create({ ...body, prompt: ['a', body.prompt], n: 2 })
  t.equal(lists.choices.length, 4)
  t.equal(lists.choices[2]?.text, plain.choices[0]?.text)
}

async function others(t: Test, { client }: SdkWorld): Promise<void> {
  const input = ['one', 'two words']
  const float = await client.embeddings.create({ model: MODEL, input, encoding_format: 'float' })
  const plain = await client.embeddings.create({ model: MODEL, input })
  const raw = await client.embeddings.create({ model: MODEL, input, encoding_format: 'base64' })
  const [first] = float.data
  t.ok(Math.abs(Math.hypot(...(first?.embedding ?? [])) - 1) < 1e-5, 'of length 1')
  for (const [at, { embedding }] of float.data.entries()) {
    t.strictSame(plain.data[at]?.embedding, embedding, 'as the client asks by itself')
    const bytes = Buffer.from(String(raw.data[at]?.embedding), 'base64')
    t.equal(bytes.readFloatLE(4), embedding[1])
  }
  const short = await client.embeddings.create({ model: MODEL, input: 'one', dimensions: 4 })
  t.equal(short.data[0]?.embedding.length, 4)
  const ids: string[] = []
  for await (const { id } of client.models.list()) ids.push(id)
  t.equal(ids.length, 1)
  t.equal((await client.models.retrieve(ids[0] ?? '')).id, ids[0])
  const other = await refused(client.models.retrieve('other'))
  t.ok(other instanceof OpenAI.NotFoundError)
  t.match(other, { code: 'model_not_found', param: 'model' })
}

async function responses(t: Test, { client, question, answer }: SdkWorld): Promise<void> {
  const body = { model: MODEL, input: question, temperature: 0 }
  const whole = await client.responses.create(body)
  t.strictSame([whole.status, whole.output_text], ['completed', answer])
  const stream = client.responses.stream(body)
  const types: string[] = []
  for await (const { type } of stream) types.push(type)
  t.equal(types[0], 'response.created')
  t.equal(types.at(-1), 'response.completed')
  const final = await stream.finalResponse()
  t.strictSame([final.output_text, final.usage], [answer, whole.usage])
  const cut = await client.responses.create({ ...body, max_output_tokens: 1 })
  t.strictSame([cut.status, cut.incomplete_details?.reason], ['incomplete', 'max_output_tokens'])
  const parameters = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
  const tool: OpenAI.Responses.FunctionTool = {
    type: 'function',
    name: 'add',
    parameters,
    strict: false,
  }
  const asked = { ...body, tools: [tool], tool_choice: 'required' as const }
  const called = await client.responses.stream(asked).finalResponse()
  for (const { output } of [await client.responses.create(asked), called]) {
    const calls = output.flatMap((item) => (item.type === 'function_call' ? [item] : []))
    t.equal(calls[0]?.name, 'add')
    t.type(JSON.parse(calls[0]?.arguments ?? '').ok, 'boolean')
  }
}

async function refusals(t: Test, { client, question }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question) }
  const { chat, responses } = client
  const hot = await refused(chat.completions.create({ ...body, temperature: 3, stream: true }))
  t.ok(hot instanceof OpenAI.BadRequestError)
  t.match(hot, { status: 400, param: 'temperature', code: 'invalid_value', requestID: /^req_/ })
  const long = { ...body, messages: user('one two '.repeat(4_000)) }
  t.match(await refused(chat.completions.create(long)), {
    status: 400,
    code: 'context_length_exceeded',
    type: 'invalid_request_error',
  })
  const stored = { model: MODEL, input: 'a', previous_response_id: 'resp_1' }
  t.match(await refused(responses.create(stored)), {
    param: 'previous_response_id',
    code: 'unsupported_parameter',
  })
  const image = { type: 'image_url' as const, image_url: { url: 'data:,' } }
  const seen = { ...body, messages: [{ role: 'user' as const, content: [image] }] }
  const error = await refused(chat.completions.create(seen))
  t.match(error, { status: 400, param: 'messages[0].content[0].type' })
}

async function together(t: Test, { client, question, answer }: SdkWorld): Promise<void> {
  const body = { model: MODEL, messages: user(question), temperature: 0 }
  const all = await Promise.all(
    Array.from({ length: 8 }, () => client.chat.completions.stream(body).finalContent()),
  )
  t.strictSame(all, Array(8).fill(answer))
}

const PARTS = {
  chats,
  characters,
  choices,
  tools,
  schemas,
  completions,
  others,
  responses,
  refusals,
  together,
}

export async function sdkSuite(t: Test, world: SdkWorld): Promise<void> {
  for (const [name, part] of Object.entries(PARTS)) await t.test(name, (t) => part(t, world))
}
