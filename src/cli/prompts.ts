/** Questions that the tiny model can answer, and how the demonstration asks them. */
import { request } from 'undici'
import { z } from 'zod'

export const PROMPTS = [
  'What is 17 + 25?',
  'What is the capital of Japan?',
  'Who are you?',
  'What is 48 + 27?',
  'What is the capital of France?',
  'What is 31 + 16?',
  'What is the opposite of hot?',
  'What is 62 + 29?',
] as const

const CompletionSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })).min(1),
  usage: z.object({ completion_tokens: z.int() }),
})

export interface ChatAnswer {
  readonly prompt: string
  readonly text: string
  readonly tokens: number
}

/** One chat message through a gateway; undefined when it was not answered. */
export async function chat(
  gatewayUrl: string,
  prompt: string,
  signal: AbortSignal,
): Promise<ChatAnswer | undefined> {
  try {
    const { statusCode, body } = await request(`${gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: prompt }], max_tokens: 48 }),
      signal,
    })
    const answer: unknown = await body.json()
    if (statusCode !== 200) return undefined
    const { choices, usage } = CompletionSchema.parse(answer)
    return { prompt, text: choices[0]?.message.content ?? '', tokens: usage.completion_tokens }
  } catch {
    return undefined
  }
}
