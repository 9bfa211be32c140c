package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unique"
	"unsafe"
	"weak"
)

func init() {
	for id, scenario := range map[string]func() string{
		"U1/kinds":      kinds,
		"U2/numbers":    numbers,
		"U2/nested":     nestedNumbers,
		"U3/value":      handleValue,
		"U3/mutable":    mutable,
		"U3/threads":    handlesAtOnce,
		"U4/subclass":   clonesStrings,
		"U4/buffer":     usedBuffer,
		"U5/vanishes":   vanishes,
		"U6/chain":      chain,
		"U7/fresh":      freshHandle,
		"U8/zero":       zeroHandle,
		"U9/nan":        nan,
		"U9/zeros":      zeros,
		"U/allocations": allocations,
	} {
		scenarios[id] = scenario
	}
}

type (
	someString  string
	someArray   [4]int
	someStrings [3]string
	someStruct  struct {
		z float64
		b string
	}
	nestedStruct struct{ s [2]someStruct }
	emptyStruct  struct{}
)

// elevenKinds makes a handle of each kind of value, as something to compare.
func elevenKinds() []any {
	return []any{
		unique.Make(someString("foo")),
		unique.Make(someString("bar")),
		unique.Make(someString("")),
		unique.Make(someArray{7, 77, 777, 7777}),
		unique.Make(any(nil)),
		unique.Make(someStrings{"a", "b", "c"}),
		unique.Make(someStruct{b: "x"}),
		unique.Make(nestedStruct{s: [2]someStruct{{b: "y"}, {b: "z"}}}),
		unique.Make(someStruct{0.5, "184"}),
		unique.Make(any("hello")),
		unique.Make(emptyStruct{}),
	}
}

func kinds() string {
	first, second := elevenKinds(), elevenKinds()
	equal, different := "all", "all"
	for i := range first {
		if first[i] != second[i] {
			equal = "not all"
		}
		for j := range i {
			if first[i] == first[j] {
				different = "not all"
			}
		}
	}
	return "equal: " + equal + "; different: " + different
}

func distinct(handles ...unique.Handle[any]) string {
	set := map[unique.Handle[any]]bool{}
	for _, handle := range handles {
		set[handle] = true
	}
	return fmt.Sprint(len(set), either(len(set) == 1, " handle", " handles"))
}

func numbers() string {
	return distinct(unique.Make[any](1), unique.Make[any](1.0), unique.Make[any](true))
}

func nestedNumbers() string {
	return distinct(
		unique.Make[any]([1]any{1}), unique.Make[any]([1]any{1.0}), unique.Make[any]([1]any{true}),
	)
}

func handleValue() string {
	given := [3]any{"text", 7, [2]any{1.5, "bytes"}}
	got := unique.Make(given).Value()
	return either(got == given, "equal", "unequal") + ", of the same type"
}

func mutable() string {
	return refused(func() { unique.Make[any]([]int{1}) })
}

func handlesAtOnce() string {
	var made [4][500]unique.Handle[[2]any]
	var group sync.WaitGroup
	for i := range made {
		group.Go(func() {
			for n := range 500 {
				made[i][n] = unique.Make([2]any{"key", n})
			}
		})
	}
	group.Wait()
	good := 0
	for n := range 500 {
		if made[0][n] == made[1][n] && made[1][n] == made[2][n] && made[2][n] == made[3][n] {
			good++
		}
	}
	return fmt.Sprintf("one each, %d times", good)
}

func clonesStrings() string {
	released := make(chan bool, 1)
	handle := func() unique.Handle[string] {
		s := strings.Clone("abcdefghijklmnopqrstuvwxyz")
		runtime.AddCleanup(unsafe.StringData(s), func(c chan bool) { c <- true }, released)
		return unique.Make(s)
	}()
	runtime.GC()
	outcome := "retained"
	select {
	case <-released:
		outcome = "released"
	case <-time.After(2 * time.Second):
	}
	runtime.KeepAlive(handle)
	return outcome
}

func usedBuffer() string {
	memory := make([]byte, 8)
	var handles []unique.Handle[string]
	for n := range 1024 {
		text := strconv.Itoa(n)
		copy(memory, text)
		handles = append(handles, unique.Make(unsafe.String(&memory[0], len(text))))
	}
	good := 0
	for n, handle := range handles {
		if handle.Value() == strconv.Itoa(n) {
			good++
		}
	}
	return fmt.Sprintf("unchanged, %d times", good)
}

type keyed struct{ p *victim }

//go:noinline
func handleOfNew() (unique.Handle[keyed], weak.Pointer[victim]) {
	v := &victim{number: 11}
	return unique.Make(keyed{v}), weak.Make(v)
}

func vanishes() string {
	handle, wp := handleOfNew()
	runtime.GC()
	alive := shows(wp) == "the object"
	runtime.KeepAlive(handle)
	settle()
	return either(alive, either(wp.Value() == nil, "forgotten", "kept"), "forgotten too early")
}

type link struct {
	next  unique.Handle[link]
	value *victim
	n     int
}

func chain() string {
	var wp weak.Pointer[victim]
	func() {
		v := &victim{}
		wp = weak.Make(v)
		handle := unique.Make(link{value: v})
		for n := range 1000 {
			handle = unique.Make(link{next: handle, n: n + 1})
		}
		runtime.KeepAlive(handle)
	}()
	settle()
	return either(wp.Value() == nil, "gone", "kept")
}

func freshHandle() string {
	stays := 0
	for n := range 200 {
		unique.Make([2]any{"fresh", n})
		if n%50 == 0 {
			runtime.GC()
		}
		handle := unique.Make([2]any{"fresh", n})
		if n%50 == 0 {
			settle()
		}
		if unique.Make([2]any{"fresh", n}) == handle {
			stays++
		}
		runtime.KeepAlive(handle)
	}
	return fmt.Sprintf("the fresh one stays, %d times", stays)
}

func zeroHandle() string {
	var zero unique.Handle[string]
	return either(refused(func() { _ = zero.Value() }) == "refused", "raises", "has a value")
}

func nan() string {
	first, second := unique.Make(math.NaN()), unique.Make(math.NaN())
	return either(first == second, "1 handle", "2 handles")
}

func zeros() string {
	first, second := unique.Make(0.0), unique.Make(math.Copysign(0, -1))
	value := strconv.FormatFloat(second.Value(), 'f', 1, 64)
	return either(first == second, "1 handle", "2 handles") + ", " + value
}

func allocations() string {
	text := strings.Clone("a heap string")
	held := unique.Make(text)
	var kept [100]unique.Handle[string]
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = unique.Make(text)
	}
	runtime.ReadMemStats(&after)
	blocks := after.Mallocs - before.Mallocs
	return either(blocks < 10 && kept[0] == held, "nothing", fmt.Sprintf("%d blocks in 100 hits", blocks))
}
