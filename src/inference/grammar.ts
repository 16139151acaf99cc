/**
 * Grammars that hold a model to what the caller asked for, in GBNF; the rule `root` is the whole answer.
 *
 * What a grammar accepts is JSON that the schema allows. What the schema allows it accepts in the usual
 * spelling: properties in the schema's order, at most one blank or line break between parts. Ideas are those of
 * llama.cpp's own converter; texts under a pattern are told apart by automata here, so that lengths, patterns
 * and bounds hold exactly. Tested by test/inference/grammar.ts, and against llama.cpp by grammar-llama.ts.
 */
import { AssertionError, assert } from '../base/errors.ts'
import { badRequest } from './errors.ts'
import { automaton } from './grammar-automaton.ts'
import { ANYTHING, and, cat, not, text } from './grammar-regular.ts'
import { Rules } from './grammar-rules.ts'
import { ANY_OBJECT_SCHEMA, SHARED, ShapeRules } from './grammar-shape.ts'
import { literal } from './grammar-strings.ts'
import type { JsonObject, Tool, ToolChoice } from './request.ts'
import { meet } from './schema-meet.ts'
import { readSchema } from './schema-read.ts'
import { ANY_OBJECT, followIn, type Schema } from './schema-shape.ts'
import type { ToolFormat } from './tools/format.ts'
import { type ThoughtForm, thoughtPassages } from './tools/thoughts.ts'

/**
 * @param schema of `response_format` or another place
 * @param param that place, named by refusals
 * @throws InferenceError BAD_REQUEST as `checkSchema` does
 */
export function schemaGrammar(
  schema: unknown,
  param = 'response_format.json_schema.schema',
): string {
  const shapes = new ShapeRules(param)
  return shapes.rules.text(shapes.whole(readSchema(schema, param)), SHARED)
}

/** Any JSON object. */
export function jsonObjectGrammar(): string {
  return schemaGrammar({ type: 'object' })
}

/**
 * Calls in the model's own way of writing, and nothing else.
 *
 * @param choice `required` or a name; the caller of this asks for it only where a call is forced
 * @param parallel several calls, one after the other, are allowed
 * @param paramOf the place of a tool's schema by the tool's index
 * @throws InferenceError BAD_REQUEST for schemas that are not served
 */
export function toolCallGrammar(
  format: ToolFormat,
  tools: readonly Tool[],
  choice: ToolChoice,
  parallel: boolean,
  paramOf = (index: number) => `tools[${index}].function.parameters`,
): string {
  const form = format.written
  const shapes = new ShapeRules('tools')
  const { rules } = shapes
  const calls = tools.flatMap((tool, index) => {
    if (typeof choice === 'object' && choice.name !== tool.name) return []
    const args = shapes.whole(argumentsSchema(tool.parameters, paramOf(index)))
    return [rules.add(form.call(tool.name, args))]
  })
  assert(calls.length > 0, 'a tool can be called')
  const call = rules.add(calls.join(' | '))
  const more = parallel
    ? rules.repeat(rules.add(`${literal(form.between)} ${call}`), 0, CALLS_MAX - 1)
    : ''
  const parts = [literal(form.begin), call, more, literal(form.end)]
  return rules.text(
    rules.add(parts.filter((part) => part !== '' && part !== '""').join(' ')),
    SHARED,
  )
}

/** So many calls in one answer are enough. */
const CALLS_MAX = 16

/**
 * What a tool's arguments may be: an object.
 * @throws InferenceError BAD_REQUEST
 */
export function argumentsSchema(parameters: JsonObject | undefined, param: string): Schema {
  if (parameters === undefined) return ANY_OBJECT_SCHEMA
  const { root, definitions } = readSchema(parameters, param)
  const shape = meet(root, ANY_OBJECT, { follow: followIn(definitions), spend: () => undefined })
  if (shape.kind === 'never') throw badRequest(param, `'${param}' must allow an object.`)
  return { root: shape, definitions }
}

/**
 * `grammar`, after the model has thought as it is used to: without this a model that thinks would be held
 * to write its answer as a thought.
 *
 * @param thoughts how it thinks, and whether the prompt has begun a thought already
 * @param isCall the grammar is of calls: gpt-oss writes these in another channel than answers
 */
export function afterThoughts(
  grammar: string,
  thoughts: { readonly form: ThoughtForm; readonly inside: boolean },
  isCall = false,
): string {
  const passages = thoughtPassages(thoughts.form, thoughts.inside, isCall)
  if (passages === undefined) return grammar
  const { open, close, after, optional } = passages
  const rules = new Rules(() => new AssertionError('a thought has a short grammar'), 't')
  const free = and(ANYTHING, not(cat(ANYTHING, text(close), ANYTHING)))
  const states = automaton(free, [{ from: 1, to: 0x10ffff }], { left: 100_000 })
  assert(states !== undefined, 'a thought has a short grammar')
  const words = [literal(open), rules.plain(states), literal(close), after]
  const thought = rules.add(words.filter((part) => part !== '""').join(' '))
  const begin = optional ? rules.add(`"" | ${thought}`) : thought
  const answer = grammar.replace('root ::= ', 'answer ::= ')
  return `${rules.text(`${begin} ${literal(passages.header)} answer`, {})}${answer}`
}
