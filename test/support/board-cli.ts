// The command line with one mode more than the product has: compiled apart, with the test's mode in its list of modes
// and the test's scenarios in its catalogue.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { transpileAll } from './transpile.ts'

/** Compiles it into `folder`; returns the program, to be run by node. */
export async function makeBoardCli(folder: string): Promise<string> {
  const [main = ''] = await transpileAll(
    ['src/cli/main.ts', 'src/cli/daemon.ts', 'test/support/board-mode.ts', 'test/support/board-scenarios.ts'],
    folder,
  )
  insert(
    join(folder, 'src/cli/modes.js'),
    'const MODES = {',
    "board: async () => (await import('../../test/support/board-mode.js')).boardMode,",
  )
  insert(
    join(folder, 'src/lab/catalogue.js'),
    'const CATALOGUE = {',
    'board: boardScenarios,',
    "import { boardScenarios } from '../../test/support/board-scenarios.js'\n",
  )
  return main
}

function insert(file: string, after: string, text: string, before = ''): void {
  const source = readFileSync(file, 'utf8')
  if (!source.includes(after)) throw new Error(`${file} has no ${after}`)
  writeFileSync(file, before + source.replace(after, `${after}\n    ${text}`))
}
