// Calls changed in all ways that make them wrong.
const WORDS = [0, 1, 2, 3, 4, 21, 22, 36, 37, 64, 65, 255, 4096, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]

/** Something that is not what was recorded, most of the time. */
export function spoil(calls: readonly Buffer[], next: () => number): Buffer {
  const below = (limit: number) => Math.floor(next() * limit)
  const some = () => Buffer.from(calls[below(calls.length)] ?? [])
  const call = some()
  const word = () => 4 * below(call.length / 4)
  switch (below(7)) {
    case 0:
      for (let left = 1 + below(8); left > 0; left--) call[below(call.length)] = below(256)
      return call
    case 1:
      call.writeUInt32BE(WORDS[below(WORDS.length)] ?? 0, word())
      return call
    case 2:
      return call.subarray(0, below(call.length))
    case 3:
      return Buffer.concat([call.subarray(0, word()), some().subarray(word())])
    case 4:
      return Buffer.concat([call, Buffer.alloc(4 * (1 + below(100)), below(256))])
    case 5:
      // Another procedure with these arguments.
      if (call.length >= 24) call.writeUInt32BE(below(23), 20)
      return call
    default:
      return Buffer.from(Array.from({ length: below(300) }, () => below(256)))
  }
}
