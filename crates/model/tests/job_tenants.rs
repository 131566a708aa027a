//! Jobs of several tenants, and what their quotas leave.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use model::access::{Measure, Quota, TenantPath, Usage};
    use model::book::{Asked, Draft, JobAnswer, JobBook, JobRequest, Refusal, SubmitKey};
    use model::id::JobId;
    use model::job::{Job, JobSpec, OnFailure, OnPartition, PlacementRules, ServiceSpec, Takeover};
    use model::name::Name;
    use model::slot::Slot;
    use model::time::Wall;
    use model::units::{Bytes, Millicores, Resources};
    use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};

    fn path(text: &str) -> TenantPath {
        TenantPath::new(text).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn id(number: u128) -> JobId {
        JobId::from_bits(number)
    }

    /// What one copy of every service here asks for.
    const EACH: Resources = Resources {
        cpu: Millicores(500),
        memory: Bytes(1 << 30),
        disk: Bytes(0),
    };

    fn service(text: &str, resources: Resources, replicas: u32) -> ServiceSpec {
        ServiceSpec {
            takeover: Takeover::default(),
            name: name(text),
            workload: Arc::new(Workload {
                hash: SpecHash([resources.cpu.0 as u8; 16]),
                runtime: RuntimeKind::Noop,
                image: None,
                pull: Pull::IfAbsent,
                command: Vec::new(),
                args: Vec::new(),
                environment: BTreeMap::new(),
                ports: Vec::new(),
                volumes: Vec::new(),
                files: BTreeMap::new(),
                resources,
                restart: Restart::Always,
                health: None,
                security: model::security::Security::default(),
                secrets: model::secret::Secrets::default(),
                stop_grace: Duration::from_secs(5),
            }),
            placement: PlacementRules::default(),
            replicas,
        }
    }

    fn draft(number: u128, job: &str, services: Vec<ServiceSpec>) -> Draft {
        Draft {
            id: id(number),
            spec: Arc::new(JobSpec {
                reconcile: model::job::Reconcile::default(),
                name: name(job),
                lost_after: None,
                on_partition: OnPartition::Stay,
                services: services.into_iter().map(Arc::new).collect(),
            }),
        }
    }

    fn web(number: u128, replicas: u32) -> Draft {
        draft(number, "web", vec![service("web", EACH, replicas)])
    }

    fn ask(book: &mut JobBook, asked: &Asked, request: &JobRequest) -> JobAnswer {
        let (writes, answer) = book.decide(asked, Wall(1), request, &|_| BTreeMap::new());
        for write in writes {
            book.take(write);
        }
        answer
    }

    fn submit(book: &mut JobBook, tenant: &str, draft: Draft) -> JobAnswer {
        let drafts = vec![draft];
        let request = JobRequest::Submit { drafts, key: None };
        ask(book, &Asked::at(path(tenant)), &request)
    }

    fn scale(book: &mut JobBook, number: u128, replicas: u32) -> JobAnswer {
        let request = JobRequest::Scale {
            key: id(number).to_string(),
            service: None,
            replicas,
        };
        let answer = ask(book, &Asked::default(), &request);
        settle(book, number);
        answer
    }

    fn put(book: &mut JobBook, draft: Draft) -> JobAnswer {
        let path = draft.id.to_string();
        ask(book, &Asked::default(), &JobRequest::Put { path, draft })
    }

    fn delete(book: &mut JobBook, number: u128) {
        let key = id(number).to_string();
        let answer = ask(book, &Asked::default(), &JobRequest::Delete { key });
        assert_eq!(answer, JobAnswer::Deleting(id(number)));
    }

    /// What was asked for is done.
    fn settle(book: &mut JobBook, number: u128) {
        let job = book.get(id(number)).unwrap();
        if let Some(job) = model::book::finished(job) {
            book.apply(job);
        }
    }

    fn exceeded(answer: &JobAnswer) -> (Measure, &str, u64, u64) {
        match answer {
            JobAnswer::Refused(Refusal::Quota(exceeded)) => (
                exceeded.what,
                exceeded.tenant.as_str(),
                exceeded.used,
                exceeded.wanted,
            ),
            other => panic!("not refused for a quota: {other:?}"),
        }
    }

    fn instances(limit: u64) -> Quota {
        Quota {
            instances: Some(limit),
            ..Quota::default()
        }
    }

    fn slot(number: u128, service: &str, index: u32) -> Slot {
        Slot {
            job: id(number),
            service: name(service),
            index,
        }
    }

    fn used(book: &JobBook, tenant: &str) -> (u64, u64) {
        let usage = book.usage(&path(tenant));
        (usage.jobs, usage.instances)
    }

    /// Jobs `web` of the root (1), of `uni` (2), of `uni/lab` (3) and of `other` (4).
    fn shared() -> JobBook {
        let mut book = JobBook::default();
        for (number, tenant) in (1..).zip(["default", "uni", "uni/lab", "other"]) {
            let answer = submit(&mut book, tenant, web(number, 1));
            assert_eq!(answer, JobAnswer::Accepted(vec![id(number)]));
        }
        book
    }

    #[test]
    fn a_name_means_the_job_of_the_tenant_that_is_asked_for() {
        let mut book = shared();
        for (number, tenant) in (1..).zip(["default", "uni", "uni/lab", "other"]) {
            let asked = Asked::at(path(tenant));
            assert_eq!(book.find(&asked, "web").unwrap().id, id(number));
            let again = submit(&mut book, tenant, web(9, 1));
            let in_use = Refusal::NameInUse {
                name: name("web"),
                by: id(number),
            };
            assert_eq!(again, JobAnswer::Refused(in_use));
        }
        delete(&mut book, 3);
        assert!(book.find(&Asked::at(path("uni/lab")), "web").is_err());
        assert_eq!(book.find(&Asked::at(path("uni")), "web").unwrap().id, id(2));
    }

    #[test]
    fn what_may_not_be_seen_was_never_there_whatever_is_asked() {
        let mut book = shared();
        let before: Vec<Job> = book.iter().cloned().collect();
        let within = |tenant: &str| Asked {
            tenant: path(tenant),
            within: path(tenant),
        };
        let sees = |book: &JobBook, tenant: &str| {
            let found = (1..=4).filter(|number| {
                let found = book.find(&within(tenant), &id(*number).to_string());
                found.is_ok()
            });
            found.collect::<Vec<_>>()
        };
        assert_eq!(sees(&book, "default"), [1, 2, 3, 4]);
        assert_eq!(sees(&book, "uni"), [2, 3]);
        assert_eq!(sees(&book, "uni/lab"), [3]);
        assert_eq!(sees(&book, "uni/la"), [] as [u128; 0]);
        let request = |key: String| {
            [
                JobRequest::Scale {
                    key: key.clone(),
                    service: None,
                    replicas: 9,
                },
                JobRequest::Restart {
                    key: key.clone(),
                    service: None,
                },
                JobRequest::Put {
                    path: key.clone(),
                    draft: web(9, 9),
                },
                JobRequest::Delete { key },
            ]
        };
        let unknown = id(77).to_string();
        for (hidden, never) in request(id(4).to_string()).iter().zip(request(unknown)) {
            let told = |answer: &JobAnswer| match answer {
                JobAnswer::Refused(Refusal::NotFound(_)) => true,
                other => panic!("{other:?}"),
            };
            assert!(told(&ask(&mut book, &within("uni"), hidden)));
            assert!(told(&ask(&mut book, &within("uni"), &never)));
        }
        assert!(book.iter().eq(&before), "nothing was changed");
    }

    #[test]
    fn a_list_has_the_jobs_of_a_tenant_and_of_all_below_it() {
        let mut book = shared();
        let listed = |book: &JobBook, tenant: &str, after: Option<JobId>| {
            let jobs = book.after(&path(tenant), after).map(|job| job.id);
            jobs.collect::<Vec<_>>()
        };
        assert_eq!(listed(&book, "default", None), [1, 2, 3, 4].map(id));
        assert_eq!(listed(&book, "uni", None), [2, 3].map(id));
        assert_eq!(listed(&book, "uni", Some(id(2))), [id(3)]);
        assert_eq!(listed(&book, "uni/lab", None), [id(3)]);
        assert_eq!(listed(&book, "nobody", None), []);
        book.forget(id(3));
        assert_eq!(listed(&book, "uni", None), [id(2)]);
        assert_eq!(listed(&book, "uni/lab", None), []);
    }

    #[test]
    fn a_key_is_known_to_the_tenant_that_used_it_only() {
        let mut book = JobBook::default();
        let request = |number: u128| JobRequest::Submit {
            drafts: vec![web(number, 1)],
            key: Some(SubmitKey {
                key: "k".to_owned(),
                body: [number as u8; 32],
            }),
        };
        let (uni, other) = (Asked::at(path("uni")), Asked::at(path("other")));
        let accepted = |number| JobAnswer::Accepted(vec![id(number)]);
        assert_eq!(ask(&mut book, &uni, &request(1)), accepted(1));
        assert_eq!(ask(&mut book, &other, &request(2)), accepted(2));
        assert_eq!(ask(&mut book, &Asked::default(), &request(3)), accepted(3));
        assert_eq!(ask(&mut book, &uni, &request(1)), accepted(1));
        assert_eq!(
            ask(&mut book, &uni, &request(2)),
            JobAnswer::Refused(Refusal::KeyReused("k".to_owned()))
        );
    }

    #[test]
    fn a_submission_fits_with_all_its_documents_or_not_at_all() {
        let mut book = JobBook::default();
        book.limit(&[(path("uni"), instances(5))]);
        let drafts = |numbers: [u128; 2]| {
            let drafts = numbers
                .map(|number| draft(number, &format!("j{number}"), vec![service("s", EACH, 3)]));
            JobRequest::Submit {
                drafts: drafts.into(),
                key: None,
            }
        };
        let asked = Asked::at(path("uni/lab"));
        let answer = ask(&mut book, &asked, &drafts([1, 2]));
        assert_eq!(exceeded(&answer), (Measure::Instances, "uni", 0, 6));
        assert!(book.is_empty());
        assert_eq!(book.usage(&path("uni")), Usage::default());
    }

    #[test]
    fn more_is_refused_and_less_is_free_once_it_has_ended() {
        let mut book = JobBook::default();
        book.limit(&[(path("uni"), instances(4))]);
        submit(&mut book, "uni", web(1, 3));
        assert_eq!(
            exceeded(&scale(&mut book, 1, 5)),
            (Measure::Instances, "uni", 3, 2)
        );
        assert_eq!(scale(&mut book, 1, 4), JobAnswer::Applied(id(1)));
        // Two of them are still there when they are not asked for any more.
        assert_eq!(scale(&mut book, 1, 2), JobAnswer::Applied(id(1)));
        for index in 0..4 {
            book.has_of(&slot(1, "web", index), Some(EACH));
        }
        assert_eq!(used(&book, "uni"), (1, 4));
        let other = || draft(2, "db", vec![service("db", EACH, 2)]);
        let refused = submit(&mut book, "uni", other());
        assert_eq!(exceeded(&refused), (Measure::Instances, "uni", 4, 2));
        let JobAnswer::Refused(refusal) = &refused else {
            unreachable!()
        };
        expect_test::expect!["tenant uni has a quota of 4 instances, of which 4 instances are used or given to tenants below it: 2 instances more do not fit; delete or scale down jobs, or ask an administrator for a greater quota; what was deleted or scaled down counts until it has ended"].assert_eq(&refusal.to_string());
        // Those who come back are no more than there were.
        assert_eq!(scale(&mut book, 1, 4), JobAnswer::Applied(id(1)));
        for index in 0..4 {
            book.has_of(&slot(1, "web", index), Some(EACH));
        }
        assert_eq!(used(&book, "uni"), (1, 4));
        assert_eq!(scale(&mut book, 1, 2), JobAnswer::Applied(id(1)));
        for index in 2..4 {
            book.has_of(&slot(1, "web", index), Some(EACH));
            book.has_of(&slot(1, "web", index), None);
        }
        assert_eq!(used(&book, "uni"), (1, 2));
        assert_eq!(
            submit(&mut book, "uni", other()),
            JobAnswer::Accepted(vec![id(2)])
        );
    }

    #[test]
    fn a_deleted_job_counts_until_nothing_of_it_is_left() {
        let mut book = JobBook::default();
        let quota = Quota {
            jobs: Some(1),
            ..Quota::default()
        };
        book.limit(&[(path("uni"), quota)]);
        submit(&mut book, "uni", web(1, 2));
        delete(&mut book, 1);
        for index in 0..2 {
            book.has_of(&slot(1, "web", index), Some(EACH));
        }
        assert_eq!(used(&book, "uni"), (1, 2));
        assert_eq!(
            exceeded(&submit(&mut book, "uni", web(2, 1))),
            (Measure::Jobs, "uni", 1, 1)
        );
        book.has_of(&slot(1, "web", 0), None);
        assert_eq!(used(&book, "uni"), (1, 1));
        book.has_of(&slot(1, "web", 1), None);
        assert_eq!(book.usage(&path("uni")), Usage::default());
        assert_eq!(
            submit(&mut book, "uni", web(2, 1)),
            JobAnswer::Accepted(vec![id(2)])
        );
        // What is forgotten counts no more, whatever was left of it.
        delete(&mut book, 2);
        book.has_of(&slot(2, "web", 0), Some(EACH));
        book.forget(id(2));
        assert_eq!(book.usage(&path("uni")), Usage::default());
    }

    #[test]
    fn a_quota_below_what_is_used_refuses_what_asks_for_more_and_nothing_else() {
        let mut book = JobBook::default();
        submit(&mut book, "uni", web(1, 5));
        book.limit(&[(path("uni"), instances(2))]);
        assert_eq!(
            exceeded(&scale(&mut book, 1, 6)),
            (Measure::Instances, "uni", 5, 1)
        );
        let mut changed = service("web", EACH, 5);
        changed.placement.worker = Some("w1".to_owned());
        assert_eq!(
            put(&mut book, draft(1, "web", vec![changed])),
            JobAnswer::Applied(id(1))
        );
        settle(&mut book, 1);
        assert_eq!(scale(&mut book, 1, 3), JobAnswer::Applied(id(1)));
        delete(&mut book, 1);
        // A list that does not name a tenant takes its quota away.
        book.limit(&[(path("other"), instances(0))]);
        assert_eq!(
            submit(&mut book, "uni", web(2, 9)),
            JobAnswer::Accepted(vec![id(2)])
        );
    }

    #[test]
    fn an_update_that_may_be_taken_back_keeps_room_for_what_was_before() {
        let mut book = JobBook::default();
        let quota = Quota {
            cpu: Some(Millicores(1_000)),
            ..Quota::default()
        };
        book.limit(&[(path("uni"), quota)]);
        let of = |cpu: u64| {
            let mut service = service(
                "web",
                Resources {
                    cpu: Millicores(cpu),
                    ..EACH
                },
                1,
            );
            service.takeover.on_failure = OnFailure::Rollback;
            service
        };
        submit(&mut book, "uni", draft(1, "web", vec![of(1_000)]));
        put(&mut book, draft(1, "web", vec![of(400)]));
        let cpu = |book: &JobBook| book.usage(&path("uni")).resources.cpu.0;
        assert_eq!(cpu(&book), 1_000);
        let db = || {
            draft(
                2,
                "db",
                vec![service(
                    "db",
                    Resources {
                        cpu: Millicores(600),
                        ..EACH
                    },
                    1,
                )],
            )
        };
        assert_eq!(
            exceeded(&submit(&mut book, "uni", db())),
            (Measure::Cpu, "uni", 1_000, 600)
        );
        settle(&mut book, 1);
        assert_eq!(cpu(&book), 400);
        assert_eq!(
            submit(&mut book, "uni", db()),
            JobAnswer::Accepted(vec![id(2)])
        );
    }
}
