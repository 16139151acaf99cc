/**
 * The way in which a model writes calls of tools, known from its chat template.
 *
 * Models are trained on one form each, and the template shows it: by the markers that it writes around the
 * calls of earlier turns. Templates that know no tools, or write calls in a form that is not read here, get
 * `generic`: our own description in the system text and calls as Hermes models write them.
 * Tested by test/inference/tools.ts.
 */
import { literal } from '../grammar-strings.ts'
import {
  type CallReader,
  HARMONY_OPEN,
  readDeepSeek,
  readElements,
  readFunctionary,
  readHarmony,
  readHermes,
  readLlama3,
  readMistral,
} from './readers.ts'

export type ToolFormatName =
  | 'hermes'
  | 'llama3'
  | 'mistral'
  | 'mistral-args'
  | 'deepseek'
  | 'harmony'
  | 'functionary'
  | 'elements'
  | 'generic'

/** How calls are to be written where a grammar forces them. */
export interface WrittenCalls {
  readonly begin: string
  readonly between: string
  readonly end: string
  /** One call, as the body of a rule; `args` is the name of the rule for the arguments. */
  call(name: string, args: string): string
}

export interface ToolFormat {
  readonly name: ToolFormatName
  /** The template itself writes the list of tools, the calls and the results; otherwise history.ts does. */
  readonly native: boolean
  /** The template takes one call in a turn. */
  readonly oneCall: boolean
  /** Begin a call. They may be control tokens: the text that is read must show them, and the others in `markers`. */
  readonly openings: readonly string[]
  /** Control tokens that are part of the form. */
  readonly markers: readonly string[]
  /** A `{` at the very beginning of the answer begins a call too. */
  readonly bare: boolean
  readonly read: CallReader
  readonly written: WrittenCalls
}

/** `{"name": …, "arguments": …}` between two texts. */
function objectCalls(
  key: 'arguments' | 'parameters',
  before: string,
  after: string,
): WrittenCalls['call'] {
  return (name, args) =>
    [
      literal(`${before}{"name": ${JSON.stringify(name)}, "${key}": `),
      args,
      literal(`}${after}`),
    ].join(' ')
}

function namedCalls(before: string, middle: string, after: string): WrittenCalls['call'] {
  return (name, args) => `${literal(`${before}${name}${middle}`)} ${args} ${literal(after)}`
}

const HERMES = {
  oneCall: false,
  openings: ['<tool_call>'],
  markers: ['<tool_call>', '</tool_call>'],
  bare: false,
  read: readHermes,
  written: {
    begin: '',
    between: '\n',
    end: '',
    call: objectCalls('arguments', '<tool_call>\n', '\n</tool_call>'),
  },
} as const

const MISTRAL = {
  native: true,
  oneCall: false,
  openings: ['[TOOL_CALLS]'],
  markers: ['[TOOL_CALLS]', '[CALL_ID]', '[ARGS]'],
  bare: false,
  read: readMistral,
} as const

const FORMATS: Readonly<Record<ToolFormatName, Omit<ToolFormat, 'name'>>> = {
  generic: { ...HERMES, native: false },
  hermes: { ...HERMES, native: true },
  elements: {
    ...HERMES,
    native: true,
    openings: ['<tool_call>', '<function='],
    read: readElements,
  },
  llama3: {
    native: true,
    oneCall: true,
    openings: ['<|python_tag|>'],
    markers: ['<|python_tag|>'],
    bare: true,
    read: readLlama3,
    written: { begin: '', between: '; ', end: '', call: objectCalls('parameters', '', '') },
  },
  mistral: {
    ...MISTRAL,
    written: {
      begin: '[TOOL_CALLS][',
      between: ', ',
      end: ']',
      call: objectCalls('arguments', '', ''),
    },
  },
  'mistral-args': {
    ...MISTRAL,
    written: { begin: '', between: '', end: '', call: namedCalls('[TOOL_CALLS]', '[ARGS]', '') },
  },
  deepseek: {
    native: true,
    oneCall: false,
    openings: ['<｜tool▁calls▁begin｜>', '<｜tool▁call▁begin｜>', '<｜tool▁calls▁end｜>'],
    markers: [
      '<｜tool▁calls▁begin｜>',
      '<｜tool▁call▁begin｜>',
      '<｜tool▁sep｜>',
      '<｜tool▁call▁end｜>',
      '<｜tool▁calls▁end｜>',
    ],
    bare: false,
    read: readDeepSeek,
    written: {
      begin: '<｜tool▁calls▁begin｜>',
      between: '\n',
      end: '<｜tool▁calls▁end｜>',
      call: namedCalls(
        '<｜tool▁call▁begin｜>function<｜tool▁sep｜>',
        '\n```json\n',
        '\n```<｜tool▁call▁end｜>',
      ),
    },
  },
  harmony: {
    native: true,
    oneCall: true,
    openings: [HARMONY_OPEN],
    markers: ['<|channel|>', '<|message|>', '<|constrain|>', '<|start|>', '<|end|>', '<|call|>'],
    bare: false,
    read: readHarmony,
    written: {
      begin: '',
      between: '<|start|>assistant',
      end: '',
      call: namedCalls(HARMONY_OPEN, ' <|constrain|>json<|message|>', '<|call|>'),
    },
  },
  functionary: {
    native: true,
    oneCall: false,
    openings: ['<function='],
    markers: [],
    bare: false,
    read: readFunctionary,
    written: {
      begin: '',
      between: '',
      end: '',
      call: namedCalls('<function=', '>', '</function>'),
    },
  },
}

export function toolFormat(name: ToolFormatName): ToolFormat {
  return { name, ...FORMATS[name] }
}

/** @param template the source of the chat template; undefined: a plain one of ours */
export function toolFormatOf(template: string | undefined): ToolFormat {
  return toolFormat(nameOf(template ?? ''))
}

function nameOf(template: string): ToolFormatName {
  const has = (...texts: readonly string[]) => texts.every((text) => template.includes(text))
  // The list of tools; `message.tool_calls` alone is not enough to make a model call.
  if (!/(?<![\w.])tools\b/.test(template)) return 'generic'
  if (has('[TOOL_CALLS]')) return has('[ARGS]') ? 'mistral-args' : 'mistral'
  if (has('<｜tool▁call▁begin｜>', '<｜tool▁sep｜>')) return 'deepseek'
  if (has('<|channel|>', 'functions.')) return 'harmony'
  if (has('<function=', '<parameter=', '<tool_call>')) return 'elements'
  if (has('<function=') && !has('<parameter=')) return 'functionary'
  if (has('<tool_call>', '"arguments') || has('<tool_call>', '\\"arguments')) return 'hermes'
  if (has('<|start_header_id|>', '"parameters"')) return 'llama3'
  return 'generic'
}
