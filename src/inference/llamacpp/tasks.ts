/**
 * Requests as the messages that the engine is sent.
 *
 * What an answer is held to is decided here: a schema becomes a grammar, and the sampler's settings are
 * the caller's wishes over the model's defaults. Tested by test/inference/llamacpp/host.ts.
 */
import { jsonObjectGrammar, schemaGrammar } from '../grammar.ts'
import type { GenerationRequest } from '../request.ts'
import { needsExact, type SamplingDefaults, settingsOf } from './sampling.ts'
import type { GenerateMessage } from './wire.ts'

export interface TaskOptions {
  readonly defaults: SamplingDefaults
  /** Thoughts of an answer that bounds them not itself; absent: no bound. */
  readonly thinkingTokensMax?: number
  readonly random: () => number
}

/**
 * @param alone nothing else may be decoded at the same time
 * @throws InferenceError BAD_REQUEST: no grammar keeps its schema
 */
export function generateMessage(
  id: number,
  request: GenerationRequest,
  alone: boolean,
  options: TaskOptions,
): GenerateMessage {
  const { defaults, random } = options
  const settings = settingsOf(request, defaults, random)
  const { seed, deterministic = false, maxTokens } = request
  const grammar = grammarOf(request)
  const exact = needsExact(settings, seed !== undefined)
  const message: GenerateMessage = {
    type: 'generate',
    id,
    prompt: promptOf(request, options),
    echo: request.kind === 'completion' && request.echo,
    settings: { ...settings, logitBias: new Map(settings.logitBias) },
    exact,
    repeatable: exact || settings.temperature === 0 || deterministic,
    alone,
    stop: [...request.stop],
    ...(maxTokens === undefined ? {} : { tokensMax: maxTokens }),
    ...(grammar === undefined ? {} : { grammar }),
  }
  return message
}

function promptOf(
  request: GenerationRequest,
  { thinkingTokensMax }: TaskOptions,
): GenerateMessage['prompt'] {
  if (request.kind === 'completion') {
    const { prompt, suffix } = request
    if (typeof prompt !== 'string') return { kind: 'tokens', tokens: [...prompt] }
    return { kind: 'text', text: prompt, ...(suffix === undefined ? {} : { suffix }) }
  }
  const { enabled, tokensMax = thinkingTokensMax } = request.thinking ?? {}
  return {
    kind: 'chat',
    messages: request.messages.map(({ toolCalls, ...message }) => ({
      ...message,
      ...(toolCalls === undefined ? {} : { toolCalls: [...toolCalls] }),
    })),
    tools: [...request.tools],
    toolChoice: request.toolChoice,
    parallelToolCalls: request.parallelToolCalls,
    thinking: {
      ...(enabled === undefined ? {} : { enabled }),
      ...(tokensMax === undefined ? {} : { tokensMax }),
    },
  }
}

/** A call that is asked for is made, whatever the format of texts. */
function grammarOf(request: GenerationRequest): string | undefined {
  if (request.kind !== 'chat') return undefined
  const { format, toolChoice } = request
  if (format.kind === 'text' || (toolChoice !== 'auto' && toolChoice !== 'none')) return undefined
  return format.kind === 'json' ? jsonObjectGrammar() : schemaGrammar(format.schema)
}
