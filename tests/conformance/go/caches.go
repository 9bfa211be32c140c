package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

func init() {
	for id, scenario := range map[string]func() string{
		"K1/hit":       hit,
		"K1/weak":      cacheIsWeak,
		"K2/once":      createdOnce,
		"K2/same":      sameValue,
		"K3/fresh":     freshValue,
		"K4/leaves":    leaves,
		"K5/failure":   failure,
		"K6/itself":    itself,
		"K7/different": differentKeys,
		"K9/load":      load,
	} {
		scenarios[id] = scenario
	}
	inner["K6/itself"] = func() {
		debug.SetMaxStack(1 << 20)
		var cache *Cache[string, victim]
		cache = NewCache(func(key string) (*victim, error) { return cache.Get(key) })
		cache.Get("key")
		fmt.Println("went on")
	}
}

func counting() (*Cache[string, victim], *atomic.Int64) {
	var created atomic.Int64
	return NewCache(func(string) (*victim, error) {
		created.Add(1)
		return &victim{number: 5}, nil
	}), &created
}

func hit() string {
	cache, created := counting()
	first, _ := cache.Get("key")
	runtime.GC()
	second, _ := cache.Get("key")
	same := either(first == second, "the same", "another")
	return same + ", created " + either(created.Load() == 1, "once", "twice")
}

func cacheIsWeak() string {
	cache, created := counting()
	wp := func() weak.Pointer[victim] {
		value, _ := cache.Get("key")
		return weak.Make(value)
	}()
	settle()
	dead := either(wp.Value() == nil, "dead", "alive")
	cache.Get("key")
	return dead + ", then " + either(created.Load() == 2, "created again", "found")
}

func concurrentMisses() (created int64, same bool) {
	var count atomic.Int64
	cache := NewCache(func(string) (*victim, error) {
		count.Add(1)
		within(500*time.Millisecond, func() bool { return count.Load() > 1 })
		return &victim{number: 6}, nil
	})
	var got [2]*victim
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() { got[i], _ = cache.Get("key") })
	}
	group.Wait()
	return count.Load(), got[0] == got[1]
}

func createdOnce() string {
	created, _ := concurrentMisses()
	return either(created == 1, "created once", "created twice")
}

func sameValue() string {
	_, same := concurrentMisses()
	return either(same, "the same", "two values")
}

func freshValue() string {
	cache, _ := counting()
	stays := 0
	for n := range 200 {
		cache.Get("key")
		if n%50 == 0 {
			runtime.GC()
		}
		value, _ := cache.Get("key")
		if n%50 == 0 {
			settle()
		}
		if again, _ := cache.Get("key"); again == value {
			stays++
		}
		runtime.KeepAlive(value)
	}
	return fmt.Sprintf("the fresh one stays, %d times", stays)
}

func leaves() string {
	cache := NewCache(func(*victim) (*victim, error) { return &victim{number: 7}, nil })
	var keys [100]weak.Pointer[victim]
	func() {
		for i := range keys {
			key := &victim{number: i}
			keys[i] = weak.Make(key)
			cache.Get(key)
		}
	}()
	settle()
	settle()
	released := 0
	for _, wp := range keys {
		if wp.Value() == nil {
			released++
		}
	}
	runtime.KeepAlive(cache)
	return fmt.Sprintf("released, %d times", released)
}

func failure() string {
	tries := 0
	cache := NewCache(func(string) (*victim, error) {
		if tries++; tries == 1 {
			return nil, errors.New("on purpose")
		}
		return &victim{}, nil
	})
	_, first := cache.Get("key")
	_, second := cache.Get("key")
	return either(first != nil, "an error", "a value") + ", then " + either(second != nil, "an error", "a value")
}

func itself() string {
	output, err := other("K6/itself")
	return either(err != nil && output == "", "recursed until the program ended", "went on")
}

func differentKeys() string {
	var inside atomic.Int64
	var met atomic.Int64
	cache := NewCache(func(int) (*victim, error) {
		inside.Add(1)
		if within(2*time.Second, func() bool { return inside.Load() == 2 }) {
			met.Add(1)
		}
		return &victim{}, nil
	})
	var group sync.WaitGroup
	for i := range 2 {
		group.Go(func() { cache.Get(i) })
	}
	group.Wait()
	return either(met.Load() == 2, "both were in creation", "one waited")
}

func load() string {
	cache := NewCache(func(key int) (*victim, error) { return &victim{number: key}, nil })
	var good atomic.Int64
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for step := range 250 {
				key := (i*7 + step) % 50
				first, _ := cache.Get(key)
				second, _ := cache.Get(key)
				if first.number == key && first == second {
					good.Add(1)
				}
				runtime.KeepAlive(first)
			}
		})
	}
	group.Wait()
	return fmt.Sprintf("right and the same, %d times", good.Load())
}
