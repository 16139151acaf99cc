/**
 * Which service is meant at the owner's port, where one port stands for all of them.
 *
 * `/SERVICE/v1/...` names it by its id; else the model of the body or of `/v1/models/NAME` does; else it
 * is the first. `GET /v1/models` shows the models of all. Tested by test/inference/local.ts.
 */
import type { HttpRequest } from '../protocol/http.ts'
import type { InferenceAnswer } from './inference.ts'
import { readBody } from './json.ts'
import type { JsonObject } from './request.ts'
import { padded } from './write/frame.ts'

/** A service as the owner sees it. */
export interface LocalService {
  /** On the chain; letters, digits, `_` and `-`. */
  readonly serviceId: string
  /** The model's public name. */
  readonly model: string
}

type Wish = Pick<HttpRequest, 'url' | 'body'>

export interface Routed {
  readonly service: LocalService
  /** Without the segment that named the service. */
  readonly url: string
}

/** Names that begin a path of the API itself; a service of such a name is meant by its model only. */
const OWN = new Set(
  'v1 chat completions responses embeddings tokenize detokenize models pokt'.split(' '),
)

const FIRST_SEGMENT = /^\/+([^/?#]*)/
const MODEL_LIST = /^(\/+v1)?\/+models\/*(?:[?#]|$)/
const MODEL = /^(?:\/+v1)?\/+models\/+([^?#]*[^?#/])/

/** @param services not empty */
export function routed(services: readonly LocalService[], { url, body }: Wish): Routed {
  const [segment, id = ''] = FIRST_SEGMENT.exec(url) ?? []
  const named = OWN.has(id) ? undefined : services.find(({ serviceId }) => serviceId === id)
  if (named !== undefined) return { service: named, url: url.slice(segment?.length) || '/' }
  const [first] = services
  const model = services.length === 1 ? undefined : (modelOfPath(url) ?? modelOfBody(body))
  const meant = services.find((service) => service.model === model || service.serviceId === model)
  return { service: meant ?? (first as LocalService), url }
}

/** Whether the models of all services are asked for. */
export function isListOfAll(services: readonly LocalService[], url: string): boolean {
  return services.length > 1 && MODEL_LIST.test(url)
}

/** One list out of the lists of all; a service that gives none is left out. */
export function joinedList(answers: readonly InferenceAnswer[]): InferenceAnswer {
  const [first] = answers as readonly [InferenceAnswer]
  const given = answers.filter(({ status }) => status === 200)
  if (given.length === 0) return first
  const models = new Map<unknown, unknown>()
  for (const { body } of given) {
    const { data } = JSON.parse(new TextDecoder().decode(body)) as { data: JsonObject[] }
    for (const model of data) if (!models.has(model['id'])) models.set(model['id'], model)
  }
  const body = padded({ object: 'list', data: [...models.values()] })
  return { status: 200, contentType: 'application/json', body }
}

function modelOfPath(url: string): string | undefined {
  const [, name] = MODEL.exec(url) ?? []
  try {
    return name === undefined ? undefined : decodeURIComponent(name)
  } catch {
    return undefined
  }
}

/** What is wrong with a body is said by the service that then has to answer it. */
function modelOfBody(body: Uint8Array): string | undefined {
  try {
    const { model } = readBody(body)
    return typeof model === 'string' ? model : undefined
  } catch {
    return undefined
  }
}
