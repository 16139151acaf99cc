/**
 * node-llama-cpp, from wherever the fitting binaries lie: this package, or the copy that
 * `engine install` put into the data folder. Runs in the engine's process only.
 *
 * Tested by test/inference/llamacpp/model.ts.
 */
import { createRequire } from 'node:module'
import { InferenceError } from '../errors.ts'

export interface CompiledTemplate {
  /** @throws Error with the template's own words where it refuses */
  render(context: Readonly<Record<string, unknown>>): string
}

export interface Library {
  readonly llama: typeof import('node-llama-cpp')
  /** Jinja as chat templates use it; the renderer that node-llama-cpp itself depends on. */
  compileTemplate(source: string): CompiledTemplate
}

/**
 * @param url of node-llama-cpp's entry file; absent: the one beside this package
 * @throws InferenceError ENGINE_MISSING
 */
export async function loadLibrary(url?: string): Promise<Library> {
  try {
    const at = url ?? import.meta.resolve('node-llama-cpp')
    const llama = (await import(at)) as Library['llama']
    const { Template } = createRequire(at)('@huggingface/jinja') as {
      Template: new (source: string) => CompiledTemplate
    }
    return { llama, compileTemplate: (source) => new Template(source) }
  } catch (error) {
    throw new InferenceError('ENGINE_MISSING', 'node-llama-cpp cannot be loaded', { cause: error })
  }
}
