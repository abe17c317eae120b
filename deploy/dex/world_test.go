//go:build lab

package dex

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dexConfig has people whose password is "password", as the hash says.
const dexConfig = `issuer: %[1]s
storage: {type: memory}
web: {http: %[2]s}
logger: {level: error}
expiry: {idTokens: 20m, signingKeys: 4s, deviceRequests: 2m}
oauth2: {skipApprovalScreen: true}
staticClients:
- {id: understudy, name: Understudy, public: true, redirectURIs: [%[3]s/device/callback]}
- {id: other, name: Other, public: true, redirectURIs: [%[3]s/device/callback]}
enablePasswordDB: true
staticPasswords:
- {email: alice@example.com, username: alice, userID: "1", hash: %[4]s, groups: [dba, staff]}
- {email: bob@example.com, username: bob, userID: "2", hash: %[4]s, groups: [shop-team]}
- {email: carol@example.com, username: carol, userID: "3", hash: %[4]s, groups: [staff]}
- {email: dave@example.com, username: dave, userID: "4", hash: %[4]s, groups: [dba],
   emailVerified: false}
`

const passwordHash = `"$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"`

const groups = `groups:
- {group: dba, role: admin}
- {group: shop-team, role: operator, servers: ["shop-*"]}
`

// world is Dex, a control plane and the folder of all that they write.
type world struct {
	t       *testing.T
	dir     string
	issuer  string
	address string
	pin     string
	dex     *process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), address: free(t)}
	build(t, w.path("dex"), "-modfile=deploy/tools/dex.mod", "github.com/dexidp/dex/cmd/dex")
	build(t, w.path("understudy"), "-trimpath", "-tags", "grpcnotrace",
		"./controlplane/cmd/understudy")
	web := free(t)
	w.issuer = "http://" + web + "/dex"
	w.write("dex.yaml", fmt.Sprintf(dexConfig, w.issuer, web, "/dex", passwordHash))
	w.write("groups.yaml", groups)
	w.dex = start(t, w.path("dex"), "serve", w.path("dex.yaml"))
	await(t, "Dex answers", func() bool {
		answer, err := http.Get(w.issuer + "/.well-known/openid-configuration")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	start(t, w.path("understudy"), "serve", "--provider", "manual", "--state-dir",
		w.path("state"), "--listen", w.address, "--advertise", w.address, "--metrics", "off",
		"--oidc-issuer", w.issuer, "--oidc-client-id", "understudy",
		"--oidc-groups-file", w.path("groups.yaml"))
	await(t, "the control plane answers", func() bool {
		out, err := w.admin("ca", "status")
		w.pin = regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(out)
		return err == nil
	})
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// build builds a program of the tree, or of a tool.
func build(t *testing.T, into string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", into}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

func free(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// process is a program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	once sync.Once
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}, &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), &said)
		}
	})
	return p
}

func (p *process) stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-end:
			t.Fatalf("it does not come to pass that %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// command is one of the command line, on the laptop of somebody.
func (w *world) command(who string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.path("understudy"), args...)
	cmd.Env = []string{"HOME=" + w.path("home-"+who), "LANG=C.UTF-8"}
	return cmd
}

// runs is what a command of somebody says.
func (w *world) runs(who string, args ...string) (string, error) {
	out, err := w.command(who, args...).CombinedOutput()
	return string(out), err
}

// admin runs a command with the credentials of the first admin.
func (w *world) admin(args ...string) (string, error) {
	return w.runs("admin", append(args, "--address", w.address, "--credentials",
		w.path("state/operator"))...)
}

var addressed = regexp.MustCompile(`or open (http\S+)`)

// logsIn runs login, and confirms the code in a browser as the person.
func (w *world) logsIn(who string, args ...string) (string, error) {
	w.t.Helper()
	cmd := w.command(who, append([]string{"login", "prod", "--address", w.address, "--ca-pin",
		w.pin}, args...)...)
	reader, writer := io.Pipe()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, io.MultiWriter(&said, writer)
	found := make(chan string, 1)
	go func() {
		var text strings.Builder
		buffer := make([]byte, 4096)
		for {
			n, err := reader.Read(buffer)
			text.Write(buffer[:n])
			if address := addressed.FindStringSubmatch(text.String()); address != nil {
				select {
				case found <- address[1]:
				default:
				}
			}
			if err != nil {
				close(found)
				return
			}
		}
	}()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	confirmed := make(chan error, 1)
	go func() {
		if address, ok := <-found; ok {
			confirmed <- w.confirm(address, who)
			return
		}
		confirmed <- nil
	}()
	err := cmd.Wait()
	_ = writer.Close()
	if failed := <-confirmed; failed != nil {
		w.t.Errorf("the code is not confirmed: %v", failed)
	}
	return said.String(), err
}

var posts = regexp.MustCompile(`<form method="post" action="([^"]+)"`)

// confirm does what a person does in a browser.
func (w *world) confirm(address, who string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	whole, err := url.Parse(address)
	if err != nil {
		return err
	}
	page, at, err := read(browser.Get(address))
	for _, form := range []url.Values{{"user_code": {whole.Query().Get("user_code")}},
		{"login": {who + "@example.com"}, "password": {"password"}}} {
		if err != nil {
			return err
		}
		action := posts.FindStringSubmatch(page)
		if action == nil {
			return fmt.Errorf("no form at %s:\n%s", at, page)
		}
		to, err2 := at.Parse(html.UnescapeString(action[1]))
		if err2 != nil {
			return err2
		}
		page, at, err = read(browser.PostForm(to.String(), form))
	}
	if err == nil && !strings.Contains(page, "Login Successful") {
		err = fmt.Errorf("the last page at %s is\n%s", at, page)
	}
	return err
}

func read(answer *http.Response, err error) (page string, at *url.URL, _ error) {
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return string(data), answer.Request.URL, err
}
