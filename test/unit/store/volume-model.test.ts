import { describe, expect, it } from 'vitest'
import { hostDisk } from '../../../src/host/disk.ts'
import { random, seed } from '../../support/random.ts'
import { checkVolume, diskWith, fail, ManualClock, openVolume, scratch, treeOf } from './volume-fixture.ts'
import { Operations } from './volume-model.ts'

const from = seed()

describe(`a volume under random operations (PROTEUS_SEED=${from})`, () => {
  it.each([from, from + 1, from + 2])('is as the model says, seed %i', async (number) => {
    const directory = scratch()
    const clock = new ManualClock()
    const operations = new Operations(number)
    const limits = {
      batchOperations: 50,
      segmentBytes: 20_000,
      logBytes: 1 << 17,
      cachedInodes: 64,
      cachedNames: 40,
      idleDescriptors: 3,
    }
    let volume = await openVolume(directory, { clock, limits })
    for (let n = 1; n <= 3000; n++) {
      const what = operations.step(volume)
      if (n % 100 === 0) {
        expect(treeOf(volume), `after ${n}: ${what}`).toEqual(operations.model.tree())
        clock.advance(2000)
        await new Promise((resolve) => setImmediate(resolve))
      }
      if (n % 1000 === 0) {
        await volume.close()
        volume = await openVolume(directory, { clock, limits })
        expect(treeOf(volume)).toEqual(operations.model.tree())
        await checkVolume(volume, directory)
      }
    }
  })

  it('whose journal and content files fail now and then does all of an operation or nothing', async () => {
    const directory = scratch()
    const clock = new ManualClock()
    const chance = random(from)
    let failing = false
    let failures = 0
    const maybe = () => {
      if (!failing || chance() > 0.2) return
      failures++
      fail(chance() < 0.5 ? 'ENOSPC' : 'EIO')
    }
    const disk = diskWith({
      open: (path, flags, mode) => {
        if ((flags & 0o100) !== 0) maybe()
        return hostDisk.open(path, flags, mode)
      },
      write: (fd, data, position) => {
        if (failing && data.length > 30 && chance() < 0.05) return hostDisk.write(fd, data.subarray(0, 10), position)
        maybe()
        return hostDisk.write(fd, data, position)
      },
    })
    const operations = new Operations(from, { writes: false })
    const limits = { batchOperations: 20, segmentBytes: 10_000 }
    const reported: Error[] = []
    const options = { clock, limits, disk, onBackgroundError: (error: Error) => reported.push(error) }
    let volume = await openVolume(directory, options)
    failing = true
    for (let n = 1; n <= 2000; n++) {
      const what = operations.step(volume)
      if (n % 50 !== 0) continue
      failing = false
      expect(treeOf(volume), `after ${n}: ${what}`).toEqual(operations.model.tree())
      if (n % 500 === 0) {
        await volume.close()
        volume = await openVolume(directory, options)
        expect(treeOf(volume)).toEqual(operations.model.tree())
        await checkVolume(volume, directory)
      }
      failing = true
    }
    failing = false
    expect(failures).toBeGreaterThan(50)
  })
})
