// What a served model is called where nobody names it otherwise.

import { basename, resolve } from 'node:path'

/** The name of its folder, or of its GGUF file without the ending. */
export const modelName = (path: string): string => basename(resolve(path), '.gguf')
