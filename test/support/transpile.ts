// Makes a TypeScript program of this project runnable: Node 20 does not read TypeScript, and what a test starts as
// another process must not depend on an earlier build.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './run.ts'

const project = fileURLToPath(new URL('../..', import.meta.url))

/** Compiles `program` (a path from the project's root) and all that it imports into `folder`; returns its new path. */
export async function transpile(program: string, folder: string): Promise<string> {
  const [path = ''] = await transpileAll([program], folder)
  return path
}

/** The same for several programs that share what they import. */
export async function transpileAll(programs: readonly string[], folder: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true })
  const compilerOptions = {
    noEmit: false,
    noCheck: true, // `npm run check` does that.
    rootDir: project,
    outDir: folder,
    rewriteRelativeImportExtensions: true,
    types: [],
  }
  const config = join(folder, 'tsconfig.json')
  const extended = join(project, 'tsconfig.json')
  writeFileSync(
    config,
    JSON.stringify({
      extends: extended,
      compilerOptions,
      include: [],
      files: programs.map((program) => join(project, program)),
    }),
  )
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "version": "0.0.0" }')
  for (const name of ['node_modules', 'native']) symlinkSync(join(project, name), join(folder, name))
  await run(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '-p', config])
  return programs.map((program) => join(folder, program.replace(/\.ts$/, '.js')))
}
