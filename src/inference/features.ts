/**
 * What a backend can't do is refused by the name of the field that asks for it, before any work is done.
 *
 * Tested by test/inference/features.ts.
 */
import { badRequest, InferenceError } from './errors.ts'
import { UNSUPPORTED } from './read/fields.ts'
import type { Features, GenerationRequest } from './request.ts'

/** A backend that can do everything. */
export const ALL_FEATURES: Features = {
  chat: true,
  completions: true,
  tokenPrompts: true,
  echo: true,
  suffix: true,
  logprobs: true,
  logitBias: true,
  tools: true,
  forcedTools: true,
  jsonObject: true,
  jsonSchema: true,
  embeddings: true,
  tokenize: true,
  thinking: true,
}

/** Before anything was asked or configured. */
export const NO_FEATURES: Features = {
  chat: false,
  completions: false,
  tokenPrompts: false,
  echo: false,
  suffix: false,
  logprobs: false,
  logitBias: false,
  tools: false,
  forcedTools: false,
  jsonObject: false,
  jsonSchema: false,
  embeddings: false,
  tokenize: false,
  thinking: false,
}

export const FEATURE_NAMES = Object.keys(ALL_FEATURES) as (keyof Features)[]

interface Demand {
  readonly feature: keyof Features
  readonly param: string
  isMade(request: GenerationRequest): boolean
}

const isChat = (request: GenerationRequest) => request.kind === 'chat'
const format = (request: GenerationRequest) =>
  request.kind === 'chat' ? request.format.kind : 'text'

const DEMANDS: readonly Demand[] = [
  {
    feature: 'tools',
    param: 'tools',
    isMade: (request) =>
      request.kind === 'chat' && request.tools.length > 0 && request.toolChoice !== 'none',
  },
  {
    feature: 'forcedTools',
    param: 'tool_choice',
    isMade: (request) =>
      request.kind === 'chat' && request.toolChoice !== 'auto' && request.toolChoice !== 'none',
  },
  {
    feature: 'jsonObject',
    param: 'response_format',
    isMade: (request) => format(request) === 'json',
  },
  {
    feature: 'jsonSchema',
    param: 'response_format',
    isMade: (request) => format(request) === 'schema',
  },
  { feature: 'logitBias', param: 'logit_bias', isMade: ({ logitBias }) => logitBias !== undefined },
  {
    feature: 'echo',
    param: 'echo',
    isMade: (request) => request.kind === 'completion' && request.echo,
  },
  {
    feature: 'suffix',
    param: 'suffix',
    isMade: (request) => request.kind === 'completion' && request.suffix !== undefined,
  },
  {
    feature: 'tokenPrompts',
    param: 'prompt',
    isMade: (request) => request.kind === 'completion' && typeof request.prompt !== 'string',
  },
  {
    feature: 'logprobs',
    param: 'logprobs',
    isMade: ({ topLogprobs }) => topLogprobs !== undefined,
  },
]

/** @throws InferenceError BAD_REQUEST (`unsupported_parameter`), NOT_FOUND: no such path here */
export function checkFeatures(request: GenerationRequest, features: Features): void {
  checkPath(isChat(request) ? features.chat : features.completions)
  for (const { feature, param, isMade } of DEMANDS) {
    if (!features[feature] && isMade(request))
      throw badRequest(
        param,
        `'${param}' is not supported by the model that runs here.`,
        UNSUPPORTED,
      )
  }
}

/** @throws InferenceError NOT_FOUND */
export function checkPath(isServed: boolean): void {
  if (!isServed) throw new InferenceError('NOT_FOUND', 'This path is not served here.')
}
