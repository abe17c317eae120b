package providertest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func (s *suite) notFound(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	for _, id := range []string{"i-0123456789ab", "vol-0123456789ab", "snap-0123456789ab", "",
		"../../etc/passwd", "a\nb", "-v", strings.Repeat("x", 5000)} {
		calls := map[string]func() error{
			"GetMachine":       func() error { _, err := p.GetMachine(ctx, id); return err },
			"StartMachine":     func() error { return p.StartMachine(ctx, id) },
			"StopMachine":      func() error { return p.StopMachine(ctx, id) },
			"RebootMachine":    func() error { return p.RebootMachine(ctx, id) },
			"TerminateMachine": func() error { return p.TerminateMachine(ctx, id) },
			"GetVolume":        func() error { _, err := p.GetVolume(ctx, id); return err },
			"AttachVolume": func() error {
				_,
					err := p.AttachVolume(ctx, id, "i-0123456789ab")
				return err
			},
			"DetachVolume": func() error {
				_,
					err := p.DetachVolume(ctx, id, "i-0123456789ab")
				return err
			},
			"DeleteVolume": func() error { return p.DeleteVolume(ctx, id) },
			"GrowVolume":   func() error { _, err := p.GrowVolume(ctx, id, 1<<30); return err },
			"CreateSnapshot": func() error {
				_, err := p.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: id})
				return err
			},
			"GetSnapshot":    func() error { _, err := p.GetSnapshot(ctx, id); return err },
			"DeleteSnapshot": func() error { return p.DeleteSnapshot(ctx, id) },
			"SetTags": func() error {
				return p.SetTags(ctx, id,
					map[string]string{"a": "b"})
			},
		}
		for name, call := range calls {
			wantKind(t, name+" of "+id[:min(len(id), 20)], call(), provider.ErrNotFound)
		}
	}
	_, err := p.CreateMachine(ctx, provider.CreateMachineRequest{ClientToken: s.token(), Name: "a",
		Image: "../no-such-image"})
	wantKind(t, "CreateMachine of an unknown image", err, provider.ErrNotFound)
	_, err = p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: s.token(),
		SnapshotID: "snap-0123456789ab"})
	wantKind(t, "CreateVolume of an unknown snapshot", err, provider.ErrNotFound)
}

func (s *suite) badInput(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	long := strings.Repeat("x", 300)
	good := provider.CreateMachineRequest{ClientToken: s.token(), Name: "host", Image: s.Image,
		Tags: map[string]string{"bad": "input"}}
	machines := map[string]func(*provider.CreateMachineRequest){
		"no token":         func(r *provider.CreateMachineRequest) { r.ClientToken = "" },
		"long token":       func(r *provider.CreateMachineRequest) { r.ClientToken = long },
		"newline in token": func(r *provider.CreateMachineRequest) { r.ClientToken = "a\nb" },
		"no name":          func(r *provider.CreateMachineRequest) { r.Name = "" },
		"path as name":     func(r *provider.CreateMachineRequest) { r.Name = "../a" },
		"newline in name":  func(r *provider.CreateMachineRequest) { r.Name = "a\nb" },
		"option as name":   func(r *provider.CreateMachineRequest) { r.Name = "-a" },
		"long name":        func(r *provider.CreateMachineRequest) { r.Name = long },
		"no image":         func(r *provider.CreateMachineRequest) { r.Image = "" },
		"unknown zone":     func(r *provider.CreateMachineRequest) { r.Zone = "../nowhere" },
		"newline in tag": func(
			r *provider.CreateMachineRequest) {
			r.Tags = map[string]string{"a": "b\nc"}
		},
		"empty tag key": func(
			r *provider.CreateMachineRequest) {
			r.Tags = map[string]string{"": "b"}
		},
		"long tag": func(
			r *provider.CreateMachineRequest) {
			r.Tags = map[string]string{"a": long}
		},
		"invalid UTF-8": func(
			r *provider.CreateMachineRequest) {
			r.Tags = map[string]string{"a": "\xff"}
		},
		"too much userdata": func(r *provider.CreateMachineRequest) {
			r.UserData = make([]byte,
				provider.MaxUserData+1)
		},
	}
	for name, spoil := range machines {
		bad := good
		spoil(&bad)
		_, err := p.CreateMachine(ctx, bad)
		wantKind(t, "machine with "+name, err, provider.ErrInvalid)
	}
	for _, size := range []int64{0, -1, 1, 511, 1<<30 + 1, 1 << 62, -1 << 63} {
		_, err := p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: s.token(),
			SizeBytes: size, Tags: good.Tags})
		wantKind(t, "volume of a bad size", err, provider.ErrInvalid)
		_, err = p.GrowVolume(ctx, "vol-0123456789ab", size)
		wantKind(t, "growing to a bad size", err, provider.ErrInvalid)
	}
	_, err := p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: s.token(),
		SizeBytes: 1 << 30, Type: "a\nb", Tags: good.Tags})
	wantKind(t, "volume of a bad type", err, provider.ErrInvalid)
	s.wantNothing(t, good.Tags)
}

// wantNothing proves that a refused request had no effect.
func (s *suite) wantNothing(t *testing.T, tags map[string]string) {
	t.Helper()
	filter := provider.Filter{Tags: tags}
	if list := must[[]provider.Machine](t)(s.Provider.ListMachines(t.Context(),
		filter)); len(list) > 0 {
		t.Errorf("refused requests made machines: %+v", list)
	}
	if list := must[[]provider.Volume](t)(s.Provider.ListVolumes(t.Context(),
		filter)); len(list) > 0 {
		t.Errorf("refused requests made volumes: %+v", list)
	}
}

func (s *suite) tokens(t *testing.T) {
	request := provider.CreateVolumeRequest{ClientToken: s.token(), SizeBytes: s.Unit,
		Tags: map[string]string{"tokens": "volume"}}
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			ids[i] = must[provider.Volume](t)(
				s.Provider.CreateVolume(context.WithoutCancel(t.Context()), request)).ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one token made %s and %s", ids[0], id)
		}
	}
	other := request
	other.SizeBytes *= 2
	_, err := s.Provider.CreateVolume(t.Context(), other)
	wantKind(t, "token used for another size", err, provider.ErrTokenReused)
	if list := must[[]provider.Volume](t)(s.Provider.ListVolumes(t.Context(),
		provider.Filter{Tags: request.Tags})); len(list) != 1 {
		t.Errorf("one token made %d volumes", len(list))
	}
}

func (s *suite) tags(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	one := s.newVolume(t,
		provider.CreateVolumeRequest{Tags: map[string]string{"tags": "one", "kind": "data",
			"odd": `quote " and 'back\slash' $(x) ü`}})
	two := s.newVolume(t,
		provider.CreateVolumeRequest{Tags: map[string]string{"tags": "two", "kind": "data"}})
	ids := func(tags map[string]string) string {
		var ids []string
		for _, v := range must[[]provider.Volume](t)(p.ListVolumes(ctx,
			provider.Filter{Tags: tags})) {
			ids = append(ids, v.ID)
		}
		return strings.Join(ids, " ")
	}
	if got := ids(map[string]string{"tags": "one"}); got != one.ID {
		t.Errorf("listed %q, not %s", got, one.ID)
	}
	if got := ids(map[string]string{"kind": "data"}); got != one.ID+" "+two.ID {
		t.Errorf("listed %q, not both in the order of their making", got)
	}
	if got := ids(map[string]string{"tags": "one", "kind": "other"}); got != "" {
		t.Errorf("listed %q that matches one of two tags", got)
	}
	if one.Tags["odd"] != `quote " and 'back\slash' $(x) ü` {
		t.Errorf("tag became %q", one.Tags["odd"])
	}
	if err := p.SetTags(ctx, one.ID, map[string]string{"kind": "log", "new": ""}); err != nil {
		t.Fatal(err)
	}
	if got := ids(map[string]string{"kind": "log", "new": "", "tags": "one"}); got != one.ID {
		t.Errorf("after SetTags listed %q", got)
	}
	wantKind(t, "bad tag", p.SetTags(ctx, one.ID, map[string]string{"a": "\x00"}),
		provider.ErrInvalid)
	shot := s.newSnapshot(t, provider.CreateSnapshotRequest{VolumeID: one.ID,
		Tags: map[string]string{"tags": "shot"}})
	list := must[[]provider.Snapshot](t)(p.ListSnapshots(ctx,
		provider.Filter{Tags: map[string]string{"tags": "shot"}}))
	if len(list) != 1 || list[0].ID != shot.ID {
		t.Errorf("snapshots listed by tag: %+v", list)
	}
}
